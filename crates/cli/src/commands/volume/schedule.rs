//! `volume schedule`: snapshots that are made, and given up, by themselves.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use super::snapshot::AroundArgs;
use super::when;
use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Body, Client, encode};
use crate::json::{each, text};
use crate::render::list::{self, Row};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List schedules
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Take the schedule of one or more volumes away; the snapshots that it made stay
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
    /// Have snapshots of a volume made and given up by themselves
    Set(Lazy<SetArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Ls(args) => args.run(client),
            Self::Rm(args) => args.run(client),
            Self::Set(args) => args.run(client),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SetArgs {
    /// When a day begins, in UTC (default 00:00)
    #[arg(long, value_name = "HH:MM")]
    at: Option<String>,
    /// Keep the newest of each of so many days
    #[arg(long, value_name = "number", default_value_t = 0)]
    daily: u32,
    /// Keep the newest of each of so many hours
    #[arg(long, value_name = "number", default_value_t = 0)]
    hourly: u32,
    /// Keep the newest of each of so many months
    #[arg(long, value_name = "number", default_value_t = 0)]
    monthly: u32,
    /// Keep the newest of each of so many weeks
    #[arg(long, value_name = "number", default_value_t = 0)]
    weekly: u32,
    #[command(flatten)]
    around: AroundArgs,
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl SetArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = json!({
            "Hourly": self.hourly,
            "Daily": self.daily,
            "Weekly": self.weekly,
            "Monthly": self.monthly,
        });
        if let Some(at) = &self.at {
            body["At"] = json!(at);
        }
        self.around.add_to(&mut body)?;
        let path = format!("/orlop/v1/volumes/{}/schedule", encode(&self.volume));
        client.send("PUT", &path, Body::Json(&body))?;
        println!("{}", self.volume);
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmArgs {
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.volumes, |name| {
            client.delete(&format!("/orlop/v1/volumes/{}/schedule", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("VOLUME", "Volume"),
    ("HOURLY", "Hourly"),
    ("DAILY", "Daily"),
    ("WEEKLY", "Weekly"),
    ("MONTHLY", "Monthly"),
    ("AT", "At"),
    ("CONSISTENCY", "Consistency"),
    ("LAST RUN", "LastRun"),
    ("RESULT", "Result"),
    ("NEXT RUN", "NextRun"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get("/orlop/v1/schedules")?;
        let rows: Vec<Row> = each(&answer["Schedules"]).map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(schedule: &Value) -> Row {
    let policy = &schedule["Policy"];
    let at = match text(&policy["At"]) {
        "" => "00:00",
        at => at,
    };
    let last = match text(&schedule["LastRun"]) {
        "" => "never".to_owned(),
        last => when(last),
    };
    let failure = &schedule["LastFailure"];
    let result = match text(&failure["Error"]) {
        "" if last == "never" => "",
        "" => "done",
        error => error,
    };
    let values = json!({
        "Volume": schedule["Volume"],
        "Hourly": policy["Hourly"],
        "Daily": policy["Daily"],
        "Weekly": policy["Weekly"],
        "Monthly": policy["Monthly"],
        "At": at,
        "Consistency": consistency(policy),
        "LastRun": last,
        "Result": result,
        "LastFailure": when(text(&failure["At"])),
        "NextRun": when(text(&schedule["NextRun"])),
    });
    values.as_object().cloned().unwrap_or_default()
}

/// What is done around its snapshots, in a word or two.
fn consistency(policy: &Value) -> String {
    let hook = text(&policy["Hook"]);
    let commands = [&policy["Pre"], &policy["Post"]];
    match text(&policy["Consistency"]) {
        "" | "hook" if !hook.is_empty() => format!("hook {hook}"),
        "" if commands
            .into_iter()
            .any(|command| !text(command).is_empty()) =>
        {
            "hook".to_owned()
        }
        "" => "default".to_owned(),
        rung => rung.to_owned(),
    }
}

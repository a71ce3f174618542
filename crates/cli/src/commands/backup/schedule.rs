//! `backup schedule`: backups that are made, given up and proven by themselves.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use super::drill::ExerciseArgs;
use super::forget::KeepArgs;
use super::{long, short, size, warn};
use crate::commands::volume::snapshot::{AroundArgs, seconds};
use crate::commands::volume::when;
use crate::failure::{Failure, Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Body, Client, encode};
use crate::json::{each, text};
use crate::render::course::CourseArgs;
use crate::render::list::{self, Row};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Display detailed information on schedules
    Inspect(Lazy<NamesArgs>),
    /// List schedules
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Let schedules rest
    Pause(Lazy<NamesArgs>),
    /// Let schedules go on; what was missed is not made up for
    Resume(Lazy<NamesArgs>),
    /// Remove schedules; the backups that they made stay
    #[command(visible_alias = "remove")]
    Rm(Lazy<NamesArgs>),
    /// Run a schedule now
    Run(Lazy<RunArgs>),
    /// Have backups made by themselves
    Set(Box<Lazy<SetArgs>>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Inspect(args) => args.inspect(client),
            Self::Ls(args) => args.run(client),
            Self::Pause(args) => args.pause(client, true),
            Self::Resume(args) => args.pause(client, false),
            Self::Rm(args) => args.remove(client),
            Self::Run(args) => args.run(client),
            Self::Set(args) => args.run(client),
        }
    }
}

fn path(name: &str) -> String {
    format!("/orlop/v1/backup-schedules/{}", encode(name))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SetArgs {
    /// All volumes
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    around: AroundArgs,
    /// When, as a crontab expression ("0 3 * * *")
    #[arg(long, value_name = "expression")]
    cron: Option<String>,
    /// Every day at this time
    #[arg(long, value_name = "HH:MM", conflicts_with_all = ["cron", "every"])]
    daily: Option<String>,
    /// Drill each volume so often: always, daily, weekly, monthly, or a duration
    #[arg(long, value_name = "string")]
    drill: Option<String>,
    #[command(flatten)]
    exercise: ExerciseArgs,
    /// Every so often (e.g. 6h)
    #[arg(long, value_name = "duration", conflicts_with = "cron")]
    every: Option<String>,
    /// Begin up to so much later, at a time of its own
    #[arg(long, value_name = "duration")]
    jitter: Option<String>,
    #[command(flatten)]
    keep: KeepArgs,
    /// Volumes that have all of these labels ("key" or "key=value")
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Mark the backups with a tag
    #[arg(long, value_name = "string")]
    tag: Vec<String>,
    /// Repository, by name or location (default: the default one)
    #[arg(long, value_name = "string")]
    to: Option<String>,
    /// Read so much of the repository after each run (e.g. 5%)
    #[arg(long, value_name = "percent")]
    verify: Option<String>,
    /// Volumes, separated by commas
    #[arg(long, value_name = "list", value_delimiter = ',')]
    volumes: Vec<String>,
    /// Time zone of the times (e.g. Europe/Berlin; default: UTC)
    #[arg(long, value_name = "string")]
    zone: Option<String>,
    #[arg(value_name = "NAME")]
    name: String,
}

impl SetArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut plan = json!({
            "Volumes": self.volumes,
            "Labels": self.label,
            "All": self.all,
            "To": self.to.as_deref().unwrap_or_default(),
            "Zone": self.zone.as_deref().unwrap_or_default(),
            "Tags": self.tag,
            "Keep": self.keep.json()?,
        });
        if let Some(cron) = &self.cron {
            plan["Cron"] = json!(cron);
        }
        if let Some(time) = &self.daily {
            plan["Cron"] = json!(daily(time)?);
        }
        if let Some(text) = &self.every {
            plan["EverySeconds"] = json!(seconds("--every", text)?);
        }
        if let Some(text) = &self.jitter {
            plan["JitterSeconds"] = json!(seconds("--jitter", text)?);
        }
        if let Some(text) = &self.verify {
            let percent: f64 = text
                .trim_end_matches('%')
                .trim()
                .parse()
                .map_err(|_| Failure::flag("--verify", text, "write 5%"))?;
            plan["VerifyPercent"] = json!(percent);
        }
        if let Some(text) = &self.drill {
            const DAY: i64 = 24 * 3600;
            plan["DrillSeconds"] = match text.as_str() {
                "always" => json!(0),
                "daily" => json!(DAY),
                "weekly" => json!(7 * DAY),
                "monthly" => json!(30 * DAY),
                other => json!(seconds("--drill", other)?),
            };
            plan["Exercise"] = self.exercise.body()?;
        }
        self.around.add_to(&mut plan)?;
        let set = client
            .send("PUT", &path(&self.name), Body::Json(&plan))?
            .json()?;
        println!("{} {}", self.name, when(text(&set["NextRun"])));
        Ok(0)
    }
}

/// `HH:MM` as a crontab expression.
fn daily(time: &str) -> Outcome<String> {
    let wrong = || Failure::flag("--daily", time, "write HH:MM");
    let (hour, minute) = time.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, most: u8| {
        let number: u8 = text.parse().ok()?;
        (number <= most).then_some(number)
    };
    let hour = number(hour, 23).ok_or_else(wrong)?;
    let minute = number(minute, 59).ok_or_else(wrong)?;
    Ok(format!("{minute} {hour} * * *"))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NamesArgs {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl NamesArgs {
    fn inspect(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = for_each(&self.names, |name| {
            found.push(client.get(&path(name))?);
            Ok(())
        })?;
        list::print_inspected(&found, None)?;
        Ok(code)
    }

    fn pause(&self, client: &Client, paused: bool) -> Outcome<i32> {
        for_each(&self.names, |name| {
            client.act(&format!("{}/pause?on={}", path(name), u8::from(paused)))?;
            println!("{name}");
            Ok(())
        })
    }

    fn remove(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.names, |name| {
            client.delete(&path(name))?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "NAME")]
    name: String,
}

impl RunArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let done = long(
            client,
            &course,
            &format!("{}/run", path(&self.name)),
            &Value::Null,
        )?;
        warn(&done);
        for volume in each(&done["Volumes"]) {
            println!(
                "{}@{} {}, {} new",
                text(&volume["Volume"]),
                short(&volume["Backup"]),
                size(&volume["Bytes"]),
                size(&volume["StoredBytes"]),
            );
        }
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("NAME", "Name"),
    ("WHEN", "When"),
    ("VOLUMES", "Volumes"),
    ("REPOSITORY", "Repository"),
    ("LAST RUN", "LastRun"),
    ("RESULT", "Result"),
    ("NEXT RUN", "NextRun"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get("/orlop/v1/backup-schedules")?;
        let rows: Vec<Row> = each(&answer["Schedules"]).map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(schedule: &Value) -> Row {
    let (plan, state) = (&schedule["Plan"], &schedule["State"]);
    let cron = text(&plan["Cron"]);
    let times = if cron.is_empty() {
        format!("every {}s", plan["EverySeconds"])
    } else {
        cron.to_owned()
    };
    let mut volumes: Vec<&str> = plan["Volumes"]
        .as_array()
        .into_iter()
        .chain(plan["Labels"].as_array())
        .flatten()
        .map(text)
        .collect();
    if plan["All"] == true {
        volumes.push("all");
    }
    let last = &state["Last"];
    let result = match (&state["RunningSince"], &last["Error"]) {
        (Value::String(_), _) => "running",
        (_, Value::String(error)) => error,
        _ if last.is_null() => "",
        _ => "done",
    };
    let next = match &schedule["NextRun"] {
        Value::String(time) => when(time),
        _ if state["Paused"] == true => "paused".to_owned(),
        _ => String::new(),
    };
    let Value::Object(row) = json!({
        "Name": schedule["Name"],
        "When": times,
        "Volumes": volumes.join(","),
        "Repository": plan["To"],
        "LastRun": last["Ended"].as_str().map_or_else(|| "never".to_owned(), when),
        "LastSuccess": state["LastSuccess"].as_str().map_or_else(|| "never".to_owned(), when),
        "Result": result,
        "Runs": state["Runs"],
        "Failures": state["Failures"],
        "Size": size(&last["Bytes"]),
        "NextRun": next,
    }) else {
        unreachable!("it is written as an object")
    };
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        for (time, wanted) in [
            ("03:00", Some("0 3 * * *")),
            ("23:59", Some("59 23 * * *")),
            ("24:00", None),
            ("3", None),
            ("a:b", None),
        ] {
            assert_eq!(daily(time).ok().as_deref(), wanted, "{time}");
        }
    }
}

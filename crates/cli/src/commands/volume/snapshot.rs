//! `volume snapshot`: keep a volume as it is, look at what was kept, give it up.

use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::rm::hinted;
use crate::commands::backup::long;
use crate::failure::{Failure, Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, Query, encode};
use crate::json::{each, text};
use crate::render::course::CourseArgs;
use crate::render::list::{self, Row};
use crate::render::units::{ago, human_size};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep one or more volumes as they are now, all at one instant
    Create(Lazy<CreateArgs>),
    /// Show what changed between a snapshot and another one, or now
    Diff(Lazy<DiffArgs>),
    /// List snapshots
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Keep snapshots from expiry and from schedules
    Pin(Lazy<PinArgs>),
    /// Remove one or more snapshots
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
    /// Give snapshots back to expiry and schedules
    Unpin(Lazy<UnpinArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Create(args) => args.run(client),
            Self::Diff(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Pin(args) => pin(client, &args.snapshots, true),
            Self::Rm(args) => args.run(client),
            Self::Unpin(args) => pin(client, &args.snapshots, false),
        }
    }
}

// No doc comment: clap would take it for what the command is about. What is done to the containers that use a volume while
// it is copied.
#[derive(Debug, ClapArgs)]
pub(crate) struct AroundArgs {
    /// What keeps the data consistent: none, sync, freeze, hook, stop (default: freeze if a running container may write,
    /// else sync)
    #[arg(long, visible_alias = "consistent", value_name = "string")]
    consistency: Option<String>,
    /// Run a ready-made command before, in the containers that have the program, or in one: postgresql, mariadb, mysql, redis
    #[arg(long, value_name = "[CONTAINER=]RECIPE")]
    hook: Vec<String>,
    /// Kill a command in a container that takes longer (default 2m)
    #[arg(long, value_name = "duration")]
    hook_timeout: Option<String>,
    /// Run a shell command in the containers before
    #[arg(long, value_name = "command")]
    pre: Option<String>,
    /// Run a shell command in the containers after
    #[arg(long, value_name = "command")]
    post: Option<String>,
}

impl AroundArgs {
    /// Adds what was said to a request.
    ///
    /// # Errors
    /// When the time is none.
    pub(crate) fn add_to(&self, body: &mut Value) -> Outcome<()> {
        let hook = (!self.hook.is_empty()).then(|| self.hook.join(","));
        for (key, value) in [
            ("Consistency", &self.consistency),
            ("Hook", &hook),
            ("Pre", &self.pre),
            ("Post", &self.post),
        ] {
            if let Some(value) = value {
                body[key] = json!(value);
            }
        }
        if let Some(text) = &self.hook_timeout {
            body["HookTimeoutSeconds"] = json!(seconds("--hook-timeout", text)?);
        }
        Ok(())
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CreateArgs {
    /// Remove it after this time (e.g. 12h, 7d, 4w)
    #[arg(long, value_name = "duration")]
    expire: Option<String>,
    /// Set metadata for the snapshot
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Name of the snapshot (default: the time)
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Keep it from expiry and from schedules
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl CreateArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = json!({
            "Volumes": self.volumes,
            "Labels": labels(&self.label),
            "Pinned": self.pin,
        });
        if let Some(name) = &self.name {
            body["Name"] = json!(name);
        }
        if let Some(text) = &self.expire {
            body["ExpireSeconds"] = json!(seconds("--expire", text)?);
        }
        self.around.add_to(&mut body)?;
        let course = self.course.course()?;
        let made = long(client, &course, "/orlop/v1/snapshots?progress=1", &body)?;
        for snapshot in each(&made["Snapshots"]) {
            println!("{}", reference(snapshot));
        }
        if !self.course.is_quiet() {
            tell_frozen(&made);
        }
        all_done(&made, "the snapshot is made")?;
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DiffArgs {
    #[arg(value_name = "VOLUME@SNAPSHOT")]
    from: String,
    /// Default: what the volume holds now
    #[arg(value_name = "VOLUME@SNAPSHOT")]
    to: Option<String>,
}

impl DiffArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let (volume, _) = split(&self.from)?;
        let to = match &self.to {
            None => None,
            Some(to) => {
                let (other, name) = split(to)?;
                if other != volume {
                    return Err(Failure::new("both snapshots must be of the same volume"));
                }
                Some(name)
            }
        };
        let path = Query::new(format!("/orlop/v1/snapshots/{}/diff", encode(&self.from)))
            .option("to", to)
            .build();
        let answer = client.get(&path)?;
        for change in each(&answer["Changes"]) {
            println!("{} {}", text(&change["Kind"]), text(&change["Path"]));
        }
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("SNAPSHOT", "Snapshot"),
    ("CREATED", "CreatedSince"),
    ("REASON", "Reason"),
    ("CONSISTENCY", "Consistency"),
    ("EXPIRES", "Expires"),
    ("SIZE", "Size"),
];
const HEADERS: list::Columns<'_> = &[
    ("SNAPSHOT", "Snapshot"),
    ("VOLUME", "Volume"),
    ("NAME", "Name"),
    ("CREATED", "CreatedSince"),
    ("CREATED AT", "CreatedAt"),
    ("REASON", "Reason"),
    ("CONSISTENCY", "Consistency"),
    ("GROUP", "Group"),
    ("EXPIRES", "Expires"),
    ("SIZE", "Size"),
    ("LABELS", "Labels"),
    ("PATH", "Path"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new("/orlop/v1/snapshots")
            .option("volume", self.volume.as_deref())
            .build();
        let answer = client.get(&path)?;
        let snapshots = answer["Snapshots"].as_array().cloned().unwrap_or_default();
        if self.quiet && self.format.is_none() {
            for snapshot in &snapshots {
                println!("{}", reference(snapshot));
            }
            return Ok(0);
        }
        let rows: Vec<Row> = snapshots.iter().map(row).collect();
        list::print(&rows, COLUMNS, HEADERS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(snapshot: &Value) -> Row {
    let time = |key: &str| text(&snapshot[key]).parse::<Timestamp>().ok();
    let labels: Vec<String> = snapshot["Labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    let expires = if snapshot["Pinned"].as_bool() == Some(true) {
        "pinned".to_owned()
    } else {
        time("ExpiresAt").map_or_else(
            || "never".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
    };
    let values = json!({
        "Snapshot": reference(snapshot),
        "Volume": snapshot["Volume"],
        "Name": snapshot["Name"],
        "CreatedAt": snapshot["CreatedAt"],
        "CreatedSince": time("CreatedAt").map(|time| ago(time.as_second())),
        "Reason": snapshot["Reason"],
        "Consistency": snapshot["Consistency"],
        "Group": snapshot["Group"],
        "Expires": expires,
        "Size": snapshot["Size"].as_f64().map_or_else(|| "shared".to_owned(), human_size),
        "Labels": labels.join(","),
        "Path": snapshot["Path"],
    });
    values.as_object().cloned().unwrap_or_default()
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmArgs {
    #[arg(required = true, value_name = "VOLUME@SNAPSHOT")]
    snapshots: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.snapshots, |name| {
            client
                .delete(&format!("/orlop/v1/snapshots/{}", encode(name)))
                .map_err(|failure| match name.split_once('@') {
                    Some((volume, snapshot)) => hinted(client, volume, Some(snapshot), failure),
                    None => failure,
                })?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PinArgs {
    #[arg(required = true, value_name = "VOLUME@SNAPSHOT")]
    snapshots: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnpinArgs {
    #[arg(required = true, value_name = "VOLUME@SNAPSHOT")]
    snapshots: Vec<String>,
}

fn pin(client: &Client, snapshots: &[String], on: bool) -> Outcome<i32> {
    for_each(snapshots, |name| {
        let path = format!("/orlop/v1/snapshots/{}/pin", encode(name));
        client.act(
            &Query::new(path)
                .set("on", if on { "1" } else { "0" })
                .build(),
        )?;
        println!("{name}");
        Ok(())
    })
}

/// Volume and name of `VOLUME@SNAPSHOT`.
pub(crate) fn split(text: &str) -> Outcome<(&str, &str)> {
    text.split_once('@')
        .filter(|(volume, name)| !volume.is_empty() && !name.is_empty())
        .ok_or_else(|| Failure::new(format!("{text:?} names no snapshot: write VOLUME@SNAPSHOT")))
}

/// Fails if something failed after what the answer tells of was made.
pub(crate) fn all_done(answer: &Value, made: &str) -> Outcome<()> {
    match text(&answer["Failed"]) {
        "" => Ok(()),
        failed => Err(Failure::new(format!("{made}, but then: {failed}"))),
    }
}

pub(crate) fn tell_frozen(answer: &Value) {
    if let Some(time) = answer["FrozenMilliseconds"]
        .as_f64()
        .filter(|time| *time > 0.0)
    {
        eprintln!("containers were frozen for {time:.1} ms");
    }
}

fn reference(snapshot: &Value) -> String {
    format!("{}@{}", text(&snapshot["Volume"]), text(&snapshot["Name"]))
}

/// `key=value` of `--label`.
pub(crate) fn labels(list: &[String]) -> Value {
    let map: Map<String, Value> = list
        .iter()
        .map(|entry| {
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            (key.to_owned(), json!(value))
        })
        .collect();
    Value::Object(map)
}

/// `90s`, `30m`, `12h`, `7d`, `4w`, and sums of them.
pub(crate) fn seconds(flag: &str, text: &str) -> Outcome<i64> {
    let wrong = || Failure::flag(flag, text, "write 90s, 30m, 12h, 7d or 4w");
    let mut sum = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let length = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        sum = number
            .checked_mul(length)
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(wrong)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    if sum > 0 { Ok(sum) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live() {
        for (text, wanted) in [
            ("90s", 90),
            ("7d", 604_800),
            ("1h30m", 5400),
            ("1w1d", 691_200),
        ] {
            assert_eq!(seconds("--expire", text).expect(text), wanted, "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "1y",
            "-1d",
            "0s",
            "1d2",
            "99999999999999999999d",
        ] {
            seconds("--expire", text).expect_err(text);
        }
    }
}

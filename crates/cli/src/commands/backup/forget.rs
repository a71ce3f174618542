//! `backup forget` and `backup prune`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::{long, short};
use crate::commands::volume_seconds as seconds;
use crate::failure::Outcome;
use crate::http::Client;
use crate::json::{each, text};
use crate::render::course::CourseArgs;
use crate::render::list;
use crate::render::units::human_size;

// No doc comment: clap would take it for what the command is about. What is kept; everything else goes.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct KeepArgs {
    /// Keep the last so many backups
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_last: u32,
    /// Keep the newest backup of each of the last so many hours
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_hourly: u32,
    /// … days
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_daily: u32,
    /// … weeks
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_weekly: u32,
    /// … months
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_monthly: u32,
    /// … years
    #[arg(long, value_name = "n", default_value = "0", hide_default_value = true)]
    keep_yearly: u32,
    /// Keep everything that is not older than this, counted from the newest (e.g. 12h, 7d)
    #[arg(long, value_name = "duration")]
    keep_within: Option<String>,
    /// Keep everything with this tag
    #[arg(long, value_name = "tag")]
    keep_tag: Vec<String>,
}

impl KeepArgs {
    /// As the engine reads it.
    pub(crate) fn json(&self) -> Outcome<Value> {
        let within = match &self.keep_within {
            Some(text) => seconds("--keep-within", text)?,
            None => 0,
        };
        Ok(json!({
            "Last": self.keep_last,
            "Hourly": self.keep_hourly,
            "Daily": self.keep_daily,
            "Weekly": self.keep_weekly,
            "Monthly": self.keep_monthly,
            "Yearly": self.keep_yearly,
            "WithinSeconds": within,
            "Tags": self.keep_tag,
        }))
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Forget nothing, only show what would go
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Only backups of this host
    #[arg(long, value_name = "string")]
    host: Option<String>,
    #[command(flatten)]
    keep: KeepArgs,
    /// Give the room back, too
    #[arg(long)]
    prune: bool,
    /// Only backups with this tag
    #[arg(long, value_name = "string")]
    tag: Option<String>,
    #[command(flatten)]
    course: CourseArgs,
    /// REPOSITORY or REPOSITORY:VOLUME: what no rule keeps; with @ID that one backup
    #[arg(value_name = "REPOSITORY[:VOLUME][@ID]", default_value = "")]
    backup: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = json!({
            "Backup": self.backup,
            "Keep": self.keep.json()?,
            "Host": self.host,
            "Tag": self.tag,
            "DryRun": true,
        });
        let course = self.course.course()?;
        // What goes is shown before it goes.
        let planned = long(client, &course, "/orlop/v1/backups/forget", &body)?;
        let going = planned["Forgotten"].as_array().cloned().unwrap_or_default();
        let kept = planned["Kept"].as_array().map_or(0, Vec::len);
        let rows: Vec<list::Row> = going.iter().map(super::ls::row).collect();
        if !rows.is_empty() {
            list::print(&rows, COLUMNS, COLUMNS, None)?;
        }
        println!(
            "{} {} backups, keeping {kept}",
            if self.dry_run {
                "would forget"
            } else {
                "forgetting"
            },
            going.len()
        );
        if self.dry_run || (going.is_empty() && !self.prune) {
            return Ok(0);
        }
        body["DryRun"] = json!(false);
        body["Prune"] = json!(self.prune);
        let done = long(client, &course, "/orlop/v1/backups/forget", &body)?;
        for backup in each(&done["Forgotten"]) {
            println!("{} {}", short(&backup["Id"]), text(&backup["Volume"]));
        }
        tell_freed(&done);
        Ok(0)
    }
}

const COLUMNS: list::Columns<'_> = &[
    ("ID", "ShortId"),
    ("VOLUME", "Volume"),
    ("TIME", "Time"),
    ("HOST", "Host"),
    ("SIZE", "Size"),
];

fn tell_freed(done: &Value) {
    if let Some(bytes) = done["FreedBytes"].as_f64() {
        println!("Total reclaimed space: {}", human_size(bytes));
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
}

impl PruneArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let body = json!({ "Repository": self.repository });
        let done = long(client, &course, "/orlop/v1/backups/prune", &body)?;
        tell_freed(&done);
        Ok(0)
    }
}

//! `backup ls`.

use clap::Args as ClapArgs;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{short, size, warn};
use crate::failure::Outcome;
use crate::http::{Client, Query};
use crate::json::text;
use crate::render::list::{self, Row};
use crate::render::units::ago;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display ids
    #[arg(short, long)]
    quiet: bool,
    /// REPOSITORY[:VOLUME][@latest]; default: the default repository
    #[arg(value_name = "REPOSITORY", default_value = "")]
    repository: String,
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("ID", "ShortId"),
    ("VOLUME", "Volume"),
    ("TIME", "Time"),
    ("AGE", "Age"),
    ("HOST", "Host"),
    ("TAGS", "Tags"),
    ("SIZE", "Size"),
    ("STORED", "Stored"),
];
const HEADERS: list::Columns<'_> = &[
    ("ID", "ShortId"),
    ("BACKUP ID", "Id"),
    ("VOLUME", "Volume"),
    ("TIME", "Time"),
    ("AGE", "Age"),
    ("HOST", "Host"),
    ("TAGS", "Tags"),
    ("GROUP", "Group"),
    ("FILES", "Files"),
    ("SIZE", "Size"),
    ("STORED", "Stored"),
    ("REPOSITORY", "Repository"),
    ("PROGRAM", "Program"),
    ("PATHS", "Paths"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let named = match &self.volume {
            Some(volume) => format!("{}:{volume}", self.repository),
            None => self.repository.clone(),
        };
        let path = Query::new("/orlop/v1/backups")
            .set("backup", &named)
            .build();
        let answer = client.get(&path)?;
        warn(&answer);
        let backups = answer["Backups"].as_array().cloned().unwrap_or_default();
        if self.quiet && self.format.is_none() {
            for backup in &backups {
                println!("{}", text(&backup["Id"]));
            }
            return Ok(0);
        }
        let rows: Vec<Row> = backups.iter().map(row).collect();
        list::print(&rows, COLUMNS, HEADERS, self.format.as_deref())?;
        Ok(0)
    }
}

/// A backup as a line.
pub(super) fn row(backup: &Value) -> Row {
    let time = text(&backup["Time"]).parse::<Timestamp>().ok();
    let joined = |key: &str| -> String {
        let list = backup[key].as_array().cloned().unwrap_or_default();
        list.iter().map(text).collect::<Vec<_>>().join(",")
    };
    let paths = joined("Paths");
    let values = json!({
        "Id": backup["Id"],
        "ShortId": short(&backup["Id"]),
        // What another program saved has no volume, but paths.
        "Volume": backup["Volume"].as_str().map_or_else(|| paths.clone(), str::to_owned),
        "Time": time.map_or_else(
            || text(&backup["Time"]).to_owned(),
            |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ),
        "Age": time.map(|time| ago(time.as_second())),
        "Host": backup["Host"],
        "Tags": joined("Tags"),
        "Group": backup["Group"].as_str().unwrap_or_default(),
        "Files": backup["Files"],
        "Size": size(&backup["Bytes"]),
        "Stored": size(&backup["StoredBytes"]),
        "Bytes": backup["Bytes"],
        "StoredBytes": backup["StoredBytes"],
        "Repository": backup["Repository"],
        "Program": backup["Program"],
        "Paths": paths,
    });
    values.as_object().cloned().unwrap_or_default()
}

//! `volume ls`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::{Client, Query};
use crate::render::list::{self, Row};
use crate::render::units::natural;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
const HEADERS: list::Columns<'_> = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("SCOPE", "Scope"),
    ("MOUNTPOINT", "Mountpoint"),
    ("LABELS", "Labels"),
    ("LINKS", "Links"),
    ("SIZE", "Size"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get(&Query::new("/volumes").filters(&self.filter)?.build())?;
        for warning in answer["Warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            eprintln!("WARNING: {warning}");
        }
        let mut volumes = answer["Volumes"].as_array().cloned().unwrap_or_default();
        let name = |volume: &Value| volume["Name"].as_str().unwrap_or_default().to_owned();
        volumes.sort_by(|a, b| natural(&name(a), &name(b)));
        if self.quiet && self.format.is_none() {
            volumes
                .iter()
                .for_each(|volume| println!("{}", name(volume)));
            return Ok(0);
        }
        let rows: Vec<Row> = volumes.iter().map(row).collect();
        list::print(&rows, COLUMNS, HEADERS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(volume: &Value) -> Row {
    let labels: Vec<String> = volume["Labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let values = json!({
        "Availability": "N/A",
        "Driver": volume["Driver"],
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": volume["Mountpoint"],
        "Name": volume["Name"],
        "Scope": volume["Scope"],
        "Size": "N/A",
        "Status": "N/A",
    });
    values.as_object().cloned().unwrap_or_default()
}

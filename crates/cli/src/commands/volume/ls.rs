//! `volume ls`.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    volumes: Option<Vec<Volume>>,
    warnings: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    driver: String,
    #[serde(default)]
    mountpoint: String,
    #[serde(default)]
    scope: String,
    labels: Option<BTreeMap<String, String>>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new("/volumes").filters(&self.filter)?.build();
        let listed: Listed = client.send("GET", &path, Body::Empty)?.read()?;
        for warning in listed.warnings.unwrap_or_default() {
            eprintln!("WARNING: {warning}");
        }
        let mut volumes = listed.volumes.unwrap_or_default();
        volumes.sort_by(|a, b| natural(&a.name, &b.name));
        match self.format.as_deref() {
            None if self.quiet => {
                let names: String = volumes
                    .iter()
                    .flat_map(|volume| [&volume.name, "\n"])
                    .collect();
                print!("{names}");
            }
            // Without a tree of values for each: there may be thousands.
            None | Some("table") => {
                let lines = volumes
                    .into_iter()
                    .map(|volume| vec![volume.driver, volume.name]);
                list::print_table(COLUMNS, lines);
            }
            format => {
                let rows: Vec<Row> = volumes.iter().map(row).collect();
                list::print(&rows, COLUMNS, HEADERS, format)?;
            }
        }
        Ok(0)
    }
}

fn row(volume: &Volume) -> Row {
    let labels: Vec<String> = volume
        .labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let values = json!({
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": volume.scope,
        "Size": "N/A",
        "Status": "N/A",
    });
    values.as_object().cloned().unwrap_or_default()
}

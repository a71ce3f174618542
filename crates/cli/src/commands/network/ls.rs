//! `network ls`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::{Client, Query};
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::short_id;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let networks = client.get(&Query::new("/networks").filters(&self.filter)?.build())?;
        let mut rows: Vec<Row> = each(&networks)
            .map(|network| {
                let id = network["Id"].as_str().unwrap_or_default();
                let labels = network["Labels"].as_object().into_iter().flatten();
                let labels: Vec<String> = labels
                    .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                    .collect();
                let values = json!({
                    "CreatedAt": network["Created"],
                    "Driver": network["Driver"],
                    "ID": if self.no_trunc { id } else { short_id(id) },
                    "IPv4": network["EnableIPv4"].as_bool().unwrap_or(true).to_string(),
                    "IPv6": network["EnableIPv6"].to_string(),
                    "Internal": network["Internal"].to_string(),
                    "Labels": labels.join(","),
                    "Name": network["Name"],
                    "Scope": network["Scope"],
                });
                values.as_object().cloned().unwrap_or_default()
            })
            .collect();
        rows.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
        if self.quiet && self.format.is_none() {
            rows.iter()
                .for_each(|row| println!("{}", row["ID"].as_str().unwrap_or_default()));
            return Ok(0);
        }
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

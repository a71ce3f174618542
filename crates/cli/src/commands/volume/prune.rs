//! `volume prune`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::system::confirm;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.all && self.filter.iter().any(|filter| filter.starts_with("all=")) {
            return Err(Failure::new(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        let warning = if self.all {
            "WARNING! This will remove all local volumes not used by at least one container."
        } else {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        };
        confirm(self.force, warning)?;
        let reclaimed = prune(client, self.all, &self.filter)?;
        println!("Total reclaimed space: {}", human_size(reclaimed));
        Ok(0)
    }
}

/// Prints what was deleted; the bytes that became free.
pub(crate) fn prune(client: &Client, all: bool, filters: &[String]) -> Outcome<f64> {
    let mut filters = filters.to_vec();
    if all {
        filters.push("all=true".to_owned());
    }
    let path = Query::new("/volumes/prune").filters(&filters)?.build();
    let report = client.send("POST", &path, Body::Empty)?.json()?;
    let deleted: Vec<&str> = report["VolumesDeleted"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Volumes:");
        deleted.iter().for_each(|name| println!("{name}"));
        println!();
    }
    Ok(report["SpaceReclaimed"].as_f64().unwrap_or(0.0))
}

//! `container prune`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::system::confirm;
use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
use crate::json::each;
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        confirm(
            self.force,
            "WARNING! This will remove all stopped containers.",
        )?;
        let reclaimed = prune(client, &self.filter)?;
        println!("Total reclaimed space: {}", human_size(reclaimed));
        Ok(0)
    }
}

/// Prints what was deleted; the bytes that became free.
pub(crate) fn prune(client: &Client, filters: &[String]) -> Outcome<f64> {
    let path = Query::new("/containers/prune").filters(filters)?.build();
    let report = client.send("POST", &path, Body::Empty)?.json()?;
    let deleted: Vec<&str> = each(&report["ContainersDeleted"])
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Containers:");
        deleted.iter().for_each(|id| println!("{id}"));
        println!();
    }
    Ok(report["SpaceReclaimed"].as_f64().unwrap_or(0.0))
}

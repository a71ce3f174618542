//! `network prune`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::system::confirm;
use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
use crate::json::each;

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
            "WARNING! This will remove all custom networks not used by at least one container.",
        )?;
        prune(client, &self.filter)?;
        Ok(0)
    }
}

/// Prints what was deleted.
pub(crate) fn prune(client: &Client, filters: &[String]) -> Outcome<()> {
    let path = Query::new("/networks/prune").filters(filters)?.build();
    let report = client.send("POST", &path, Body::Empty)?.json()?;
    let deleted: Vec<&str> = each(&report["NetworksDeleted"])
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Networks:");
        deleted.iter().for_each(|name| println!("{name}"));
        println!();
    }
    Ok(())
}

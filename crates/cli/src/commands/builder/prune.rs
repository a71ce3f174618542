//! `builder prune`.

use clap::Args as ClapArgs;

use crate::commands::system::confirm;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::parse::size;
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all unused build cache, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Amount of disk space to keep for cache
    #[arg(long, visible_alias = "reserved-space", value_name = "bytes")]
    keep_storage: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let warning = if self.all {
            "WARNING! This will remove all build cache."
        } else {
            "WARNING! This will remove all dangling build cache."
        };
        confirm(self.force, warning)?;
        let keep = self
            .keep_storage
            .as_ref()
            .map(|text| size::bytes(text).map_err(|why| Failure::flag("--keep-storage", text, why)))
            .transpose()?;
        let path = Query::new("/build/prune")
            .flag("all", self.all)
            .option("keep-storage", keep)
            .filters(&self.filter)?
            .build();
        let reclaimed = prune(client, &path)?;
        println!("Total reclaimed space: {}", human_size(reclaimed));
        Ok(0)
    }
}

/// Says what has gone; the bytes that were freed.
pub(crate) fn prune(client: &Client, path: &str) -> Outcome<f64> {
    let report = client.send("POST", path, Body::Empty)?.json()?;
    let deleted = report["CachesDeleted"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !deleted.is_empty() {
        println!("Deleted build cache objects:");
        for id in deleted {
            println!("{}", id.as_str().unwrap_or_default());
        }
        println!();
    }
    Ok(report["SpaceReclaimed"].as_f64().unwrap_or(0.0))
}

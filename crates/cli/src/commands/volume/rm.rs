//! `volume rm`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, Query, encode};
use crate::json::each;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    /// Delete for good, past the trash
    #[arg(long)]
    now: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.volumes, |name| {
            let path = Query::new(format!("/volumes/{}", encode(name)))
                .flag("force", self.force)
                .flag("now", self.now)
                .build();
            client
                .delete(&path)
                .map_err(|failure| hinted(client, name, None, failure))?;
            println!("{name}");
            Ok(())
        })
    }
}

/// Docker names users by their ids; people know names. `snapshot`: only those that read it.
pub(super) fn hinted(
    client: &Client,
    name: &str,
    snapshot: Option<&str>,
    mut failure: Failure,
) -> Failure {
    if !failure.text.contains("is in use") {
        return failure;
    }
    // Without the hint the refusal is still the refusal.
    let Ok(detail) = client.get(&format!("/orlop/v1/volumes/{}", encode(name))) else {
        return failure;
    };
    let users: Vec<String> = each(&detail["UsedBy"])
        .filter(|user| snapshot.is_none() || user["Snapshot"].as_str() == snapshot)
        .map(|user| {
            let text = |key: &str| user[key].as_str().unwrap_or_default();
            let mode = if user["RW"] == Value::Bool(true) {
                "rw"
            } else {
                "ro"
            };
            let what = match user["Snapshot"].as_str() {
                Some(read) if snapshot.is_none() => format!(", snapshot {read}"),
                _ => String::new(),
            };
            format!(
                "{} ({}, {mode} at {}{what})",
                text("Name"),
                text("State"),
                text("Destination")
            )
        })
        .collect();
    if !users.is_empty() {
        failure
            .text
            .push_str(&format!("\nhint: used by {}", users.join(", ")));
    }
    failure
}

//! `volume rm`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, Query, encode};

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
                .map_err(|failure| hinted(client, name, failure))?;
            println!("{name}");
            Ok(())
        })
    }
}

/// Docker names users by their ids; people know names.
fn hinted(client: &Client, name: &str, mut failure: Failure) -> Failure {
    if !failure.text.contains("volume is in use") {
        return failure;
    }
    // Without the hint the refusal is still the refusal.
    let Ok(detail) = client.get(&format!("/orlop/v1/volumes/{}", encode(name))) else {
        return failure;
    };
    let users: Vec<String> = detail["UsedBy"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|user| {
            let text = |key: &str| user[key].as_str().unwrap_or_default();
            let mode = if user["RW"] == Value::Bool(true) {
                "rw"
            } else {
                "ro"
            };
            format!(
                "{} ({}, {mode} at {})",
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

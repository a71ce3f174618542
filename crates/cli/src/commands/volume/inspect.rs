//! `volume inspect`: what Docker shows, and who uses the volume, who made it, and what happened to it.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, encode};
use crate::render::list::print_inspected;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = for_each(&self.volumes, |name| {
            found.push(look(client, name)?);
            Ok(())
        })?;
        print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}

/// An engine that is not ours knows only Docker's part.
fn look(client: &Client, name: &str) -> Outcome<Value> {
    match client.get(&format!("/orlop/v1/volumes/{}", encode(name))) {
        Err(failure) if failure.is_not_found() && !failure.text.contains("no such volume") => {
            client.get(&format!("/volumes/{}", encode(name)))
        }
        other => other,
    }
}

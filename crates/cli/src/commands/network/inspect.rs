//! `network inspect`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, Query, encode};
use crate::render::list;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short, long)]
    verbose: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found: Vec<Value> = Vec::new();
        let code = for_each(&self.networks, |name| {
            let path = Query::new(format!("/networks/{}", encode(name)))
                .flag("verbose", self.verbose)
                .build();
            found.push(client.get(&path)?);
            Ok(())
        })?;
        list::print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}

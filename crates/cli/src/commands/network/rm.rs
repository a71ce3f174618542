//! `network rm`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.networks, |name| {
            let removed = client.delete(&format!("/networks/{}", encode(name)));
            match removed {
                Err(failure) if self.force && failure.text.ends_with("not found") => return Ok(()),
                other => other?,
            };
            println!("{name}");
            Ok(())
        })
    }
}

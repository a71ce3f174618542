//! `diff`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Client, encode};
use crate::json::each;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let changes = client.get(&format!("/containers/{}/changes", encode(&self.container)))?;
        for change in each(&changes) {
            let kind = match change["Kind"].as_u64() {
                Some(1) => "A",
                Some(2) => "D",
                _ => "C",
            };
            println!("{kind} {}", change["Path"].as_str().unwrap_or_default());
        }
        Ok(0)
    }
}

//! `network disconnect`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::{Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "NETWORK")]
    network: String,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let body = json!({ "Container": self.container, "Force": self.force });
        let path = format!("/networks/{}/disconnect", encode(&self.network));
        client.post(&path, &body)?;
        Ok(0)
    }
}

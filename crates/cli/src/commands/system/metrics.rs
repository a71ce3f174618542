//! `system metrics`.

use std::io;

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Body, Client};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "as every command is run")]
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut page = client.send("GET", "/metrics", Body::Empty)?.body;
        io::copy(&mut page, &mut io::stdout().lock())?;
        Ok(0)
    }
}

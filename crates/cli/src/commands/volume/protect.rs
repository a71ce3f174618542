//! `volume protect` and `volume unprotect`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client, verb: &str) -> Outcome<i32> {
        for_each(&self.volumes, |name| {
            client.act(&format!("/orlop/v1/volumes/{}/{verb}", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}

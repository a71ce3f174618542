//! `volume rename`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Volume to rename, in use or not
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// What it shall be called; no other volume may be called so
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = format!("/orlop/v1/volumes/{}/rename", encode(&self.volume));
        client.act(&Query::new(path).set("name", &self.name).build())?;
        println!("{}", self.name);
        Ok(0)
    }
}

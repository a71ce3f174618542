//! `volume adopt`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Body, Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Name of the volume, instead of the one it had
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// A directory in the engine's data, by its path or its name there, as `volume audit` shows it
    #[arg(value_name = "DIRECTORY")]
    directory: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new(format!("/orlop/v1/adopt/{}", encode(&self.directory)))
            .option("name", self.name.as_ref())
            .build();
        let volume = client.send("POST", &path, Body::Empty)?.json()?;
        println!("{}", volume["Name"].as_str().unwrap_or_default());
        Ok(0)
    }
}

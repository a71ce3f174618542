//! `volume undelete`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Body, Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Give the volume another name
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// The name it had (the newest of that name is meant), or the beginning of its id in `volume trash ls`
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new(format!("/orlop/v1/trash/{}/undelete", encode(&self.volume)))
            .option("name", self.name.as_ref())
            .build();
        let volume = client
            .send("POST", &path, Body::Empty)
            .map_err(|mut failure| {
                if failure.status == Some(409) && self.name.is_none() {
                    failure
                        .text
                        .push_str("\nhint: --as NAME gives it another name");
                }
                failure
            })?
            .json()?;
        println!("{}", volume["Name"].as_str().unwrap_or_default());
        Ok(0)
    }
}

//! `wait`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Body, Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.containers, |name| {
            let answer = client
                .send(
                    "POST",
                    &format!("/containers/{}/wait", encode(name)),
                    Body::Empty,
                )?
                .json()?;
            println!("{}", answer["StatusCode"]);
            Ok(())
        })
    }
}

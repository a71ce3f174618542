//! `rename`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new(format!(
            "/containers/{}/rename",
            encode(self.container.trim_start_matches('/'))
        ))
        .set("name", &self.name)
        .build();
        client.act(&path)?;
        Ok(0)
    }
}

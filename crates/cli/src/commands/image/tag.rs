//! `tag`.

use clap::Args as ClapArgs;

use crate::commands::container_split_tag as split_tag;
use crate::failure::Outcome;
use crate::http::{Client, Query};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let (repository, tag) = split_tag(&self.target);
        let path = Query::new(format!("/images/{}/tag", self.source))
            .set("repo", repository)
            .option("tag", tag)
            .build();
        client.act(&path)?;
        Ok(0)
    }
}

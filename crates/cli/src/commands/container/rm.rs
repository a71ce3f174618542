//! `rm`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_all};
use crate::http::{Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_all(&self.containers, self.force, |name| {
            let path = Query::new(format!(
                "/containers/{}",
                encode(name.trim_start_matches('/'))
            ))
            .flag("v", self.volumes)
            .flag("link", self.link)
            .flag("force", self.force)
            .build();
            client.delete(&path).map(drop)
        })
    }
}

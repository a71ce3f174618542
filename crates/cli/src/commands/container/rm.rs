//! `rm`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
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
        for_each(&self.containers, |name| {
            let path = Query::new(format!(
                "/containers/{}",
                encode(name.trim_start_matches('/'))
            ))
            .flag("v", self.volumes)
            .flag("link", self.link)
            .flag("force", self.force)
            .build();
            match client.delete(&path) {
                // --force: what is not there needs no removing.
                Err(failure) if self.force && failure.is_not_found() => return Ok(()),
                result => result?,
            };
            println!("{name}");
            Ok(())
        })
    }
}

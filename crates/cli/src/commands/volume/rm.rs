//! `volume rm`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.volumes, |name| {
            client.delete(
                &Query::new(format!("/volumes/{}", encode(name)))
                    .flag("force", self.force)
                    .build(),
            )?;
            println!("{name}");
            Ok(())
        })
    }
}

//! `rmi`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, Query};
use crate::json::each;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.images, |name| {
            let path = Query::new(format!("/images/{name}"))
                .flag("force", self.force)
                .flag("noprune", self.no_prune)
                .build();
            let removed = match client.delete(&path) {
                Err(failure) if self.force && failure.is_not_found() => return Ok(()),
                result => result?,
            };
            for one in each(&removed) {
                if let Some(name) = one["Untagged"].as_str() {
                    println!("Untagged: {name}");
                }
                if let Some(id) = one["Deleted"].as_str() {
                    println!("Deleted: {id}");
                }
            }
            Ok(())
        })
    }
}

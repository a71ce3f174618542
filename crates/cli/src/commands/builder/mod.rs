//! What builds leave behind.

use clap::Subcommand;

use crate::commands::image::build;
use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

pub(crate) mod prune;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    Build(Lazy<build::Args>),
    /// Remove build cache
    Prune(Lazy<prune::Args>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Build(args) => args.run(client),
            Self::Prune(args) => args.run(client),
        }
    }
}

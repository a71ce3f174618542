//! Volumes.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

mod create;
mod export;
mod import;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a volume
    Create(Lazy<create::Args>),
    /// Export the content of a volume as a tar archive
    Export(Lazy<export::Args>),
    /// Import a tar archive into a volume
    Import(Lazy<import::Args>),
    /// Display detailed information on one or more volumes
    Inspect(Lazy<inspect::Args>),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Lazy<ls::Args>),
    /// Remove unused local volumes
    Prune(Lazy<prune::Args>),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Args>),
}

impl Command {
    pub(crate) fn run(self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Create(args) => args.run(client),
            Self::Export(args) => args.run(client),
            Self::Import(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Rm(args) => args.run(client),
        }
    }
}

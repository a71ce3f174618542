//! Volumes.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

mod clone;
mod create;
mod export;
mod import;
mod inspect;
mod ls;
pub(crate) mod prune;
mod restore;
mod rm;
mod schedule;
mod snapshot;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a volume out of another one, or out of a snapshot
    Clone(Lazy<clone::Args>),
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
    /// Make a snapshot what the volume holds; what it held becomes a snapshot
    Restore(Lazy<restore::Args>),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Args>),
    /// Snapshots that are made by themselves
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Volumes as they were
    #[command(subcommand)]
    Snapshot(snapshot::Command),
}

impl Command {
    pub(crate) fn run(self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Clone(args) => args.run(client),
            Self::Create(args) => args.run(client),
            Self::Export(args) => args.run(client),
            Self::Import(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Restore(args) => args.run(client),
            Self::Rm(args) => args.run(client),
            Self::Schedule(command) => command.run(client),
            Self::Snapshot(command) => command.run(client),
        }
    }
}

//! Volumes.

use clap::Subcommand;
use jiff::Timestamp;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;
use crate::render::units::{ago, human_duration};

mod adopt;
mod audit;
mod backup;
mod chown;
mod clone;
mod cp;
mod create;
mod export;
mod files;
mod history;
mod import;
mod inspect;
mod label;
mod ls;
mod protect;
pub(crate) mod prune;
mod rename;
mod reseed;
mod resize;
mod restore;
mod rm;
mod schedule;
pub(crate) mod snapshot;
mod trash;
mod travel;
mod undelete;

pub(crate) use files::line as file_line;
pub(crate) use snapshot::seconds;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a volume of a directory: of data that lost its record, or of a copy of any other
    Adopt(Lazy<adopt::Args>),
    /// Look for what does not fit together, and say what to do about it
    Audit(Lazy<audit::Args>),
    /// Back volumes up to a repository, all as they are at one instant
    Backup(Lazy<backup::Args>),
    /// Print files of a volume
    Cat(Lazy<files::CatArgs>),
    /// Give the files of a volume to another user
    Chown(Lazy<chown::Args>),
    /// Make a volume out of another one, or out of a snapshot
    Clone(Lazy<clone::Args>),
    /// Copy a volume to another engine
    Copy(Lazy<travel::CopyArgs>),
    /// Copy files into, out of and between volumes
    Cp(Lazy<cp::Args>),
    /// Create a volume
    Create(Lazy<create::Args>),
    /// Export the content of a volume as a tar archive
    Export(Lazy<export::Args>),
    /// Show what happened to a volume
    History(Lazy<history::Args>),
    /// Import a tar archive into a volume
    Import(Lazy<import::Args>),
    /// Display detailed information on one or more volumes
    Inspect(Lazy<inspect::Args>),
    /// Add, change and take away labels of a volume
    Label(Lazy<label::Args>),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Lazy<ls::Args>),
    /// List files of a volume
    LsFiles(Lazy<files::ListArgs>),
    /// Move a volume to another engine; here it goes into the trash when it is there
    Move(Lazy<travel::MoveArgs>),
    /// Keep volumes from being removed
    Protect(Lazy<protect::Args>),
    /// Remove unused local volumes
    Prune(Lazy<prune::Args>),
    /// Make a volume out of one that was pushed to a registry
    Pull(Lazy<travel::registry::PullArgs>),
    /// Push a volume to a registry
    Push(Lazy<travel::registry::PushArgs>),
    /// Volumes of which only a part has arrived
    #[command(subcommand)]
    Receiving(Lazy<travel::receiving::Command>),
    /// Rename a volume, in use or not
    Rename(Lazy<rename::Args>),
    /// Bring what an image filled a volume with up to date
    Reseed(Lazy<reseed::Args>),
    /// Change how much a volume may hold
    Resize(Lazy<resize::Args>),
    /// Make a snapshot or a backup what the volume holds; what it held becomes a snapshot
    Restore(Lazy<restore::Args>),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Args>),
    /// Snapshots that are made by themselves
    #[command(subcommand)]
    Schedule(Lazy<schedule::Command>),
    /// Volumes as they were
    #[command(subcommand)]
    Snapshot(Lazy<snapshot::Command>),
    /// Volumes that were removed and can be had back
    #[command(subcommand)]
    Trash(Lazy<trash::Command>),
    /// Bring a removed volume back
    Undelete(Lazy<undelete::Args>),
    /// Let protected volumes be removed again
    Unprotect(Lazy<protect::Args>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Adopt(args) => args.run(client),
            Self::Audit(args) => args.run(client),
            Self::Backup(args) => args.run(client),
            Self::Cat(args) => args.run(client),
            Self::Chown(args) => args.run(client),
            Self::Clone(args) => args.run(client),
            Self::Copy(args) => args.run(client),
            Self::Cp(args) => args.run(client),
            Self::Create(args) => args.run(client),
            Self::Export(args) => args.run(client),
            Self::History(args) => args.run(client),
            Self::Import(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Label(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::LsFiles(args) => args.run(client),
            Self::Move(args) => args.run(client),
            Self::Protect(args) => args.run(client, "protect"),
            Self::Prune(args) => args.run(client),
            Self::Pull(args) => args.run(client),
            Self::Push(args) => args.run(client),
            Self::Receiving(command) => command.run(client),
            Self::Rename(args) => args.run(client),
            Self::Reseed(args) => args.run(client),
            Self::Resize(args) => args.run(client),
            Self::Restore(args) => args.run(client),
            Self::Rm(args) => args.run(client),
            Self::Schedule(command) => command.run(client),
            Self::Snapshot(command) => command.run(client),
            Self::Trash(command) => command.run(client),
            Self::Undelete(args) => args.run(client),
            Self::Unprotect(args) => args.run(client, "unprotect"),
        }
    }
}

/// `3 hours ago`, `in 3 hours`; what is no time is shown as it is.
pub(crate) fn when(time: &str) -> String {
    let Ok(time) = time.parse::<Timestamp>() else {
        return time.to_owned();
    };
    let left = time.as_second() - Timestamp::now().as_second();
    if left > 0 {
        format!("in {}", human_duration(left))
    } else {
        ago(time.as_second())
    }
}

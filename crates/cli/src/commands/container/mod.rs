//! Containers.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::http::Client;

mod attach;
mod commit;
mod config;
mod cp;
mod diff;
mod exec;
mod export;
mod flags;
mod host;
mod lifecycle;
mod logs;
pub(crate) mod ls;
mod port;
mod prune;
mod rename;
mod rm;
mod run;
mod session;
mod signals;
mod start;
mod stats;
mod top;
mod update;
mod wait;

pub(crate) use commit::split_tag;
pub(crate) use logs::time;
pub(crate) use prune::prune;

/// Commands that docker has both with and without `container` in front.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create and run a new container from an image
    Run(Box<run::Args>),
    /// Create a new container
    Create(Box<run::CreateArgs>),
    /// Start one or more stopped containers
    Start(start::Args),
    /// Stop one or more running containers
    Stop(lifecycle::StopArgs),
    /// Kill one or more running containers
    Kill(lifecycle::KillArgs),
    /// Restart one or more containers
    Restart(lifecycle::StopArgs),
    /// Pause all processes within one or more containers
    Pause(lifecycle::NameArgs),
    /// Unpause all processes within one or more containers
    Unpause(lifecycle::NameArgs),
    /// Block until one or more containers stop, then print their exit codes
    Wait(wait::Args),
    /// Remove one or more containers
    Rm(rm::Args),
    /// Fetch the logs of a container
    Logs(logs::Args),
    /// Attach local standard input, output, and error streams to a running container
    Attach(attach::Args),
    /// Execute a command in a running container
    Exec(exec::Args),
    /// Display the running processes of a container
    Top(top::Args),
    /// Rename a container
    Rename(rename::Args),
    /// List port mappings or a specific mapping for the container
    Port(port::Args),
    /// Copy files/folders between a container and the local filesystem
    Cp(cp::Args),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(diff::Args),
    /// Export a container's filesystem as a tar archive
    Export(export::Args),
    /// Create a new image from a container's changes
    Commit(commit::Args),
    /// Display a live stream of container(s) resource usage statistics
    Stats(stats::Args),
    /// Update configuration of one or more containers
    Update(update::Args),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(Verb),
    /// List containers
    #[command(visible_aliases = ["ps", "list"])]
    Ls(ls::Args),
    /// Display detailed information on one or more containers
    Inspect(ls::InspectArgs),
    /// Remove all stopped containers
    Prune(prune::Args),
}

impl Verb {
    pub(crate) fn run(self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Run(args) => args.run(client),
            Self::Create(args) => args.run(client),
            Self::Start(args) => args.run(client),
            Self::Stop(args) => args.run(client, "stop"),
            Self::Kill(args) => args.run(client),
            Self::Restart(args) => args.run(client, "restart"),
            Self::Pause(args) => args.run(client, "pause"),
            Self::Unpause(args) => args.run(client, "unpause"),
            Self::Wait(args) => args.run(client),
            Self::Rm(args) => args.run(client),
            Self::Logs(args) => args.run(client),
            Self::Attach(args) => args.run(client),
            Self::Exec(args) => args.run(client),
            Self::Top(args) => args.run(client),
            Self::Rename(args) => args.run(client),
            Self::Port(args) => args.run(client),
            Self::Cp(args) => args.run(client),
            Self::Diff(args) => args.run(client),
            Self::Export(args) => args.run(client),
            Self::Commit(args) => args.run(client),
            Self::Stats(args) => args.run(client),
            Self::Update(args) => args.run(client),
        }
    }
}

impl Command {
    pub(crate) fn run(self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Verb(verb) => verb.run(client),
            Self::Ls(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Prune(args) => args.run(client),
        }
    }
}

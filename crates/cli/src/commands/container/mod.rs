//! Containers.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

mod attach;
mod commit;
mod config;
pub(crate) mod cp;
mod diff;
mod exec;
mod explain;
mod export;
mod flags;
mod host;
mod lifecycle;
mod logs;
pub(crate) mod ls;
mod mount;
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

// Those that docker has both with and without `container` in front. No text for help: that of the command around them stays.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create and run a new container from an image
    Run(Lazy<run::Args>),
    /// Create a new container
    Create(Lazy<run::CreateArgs>),
    /// Start one or more stopped containers
    Start(Lazy<start::Args>),
    /// Stop one or more running containers
    Stop(Lazy<lifecycle::StopArgs>),
    /// Kill one or more running containers
    Kill(Lazy<lifecycle::KillArgs>),
    /// Restart one or more containers
    Restart(Lazy<lifecycle::StopArgs>),
    /// Pause all processes within one or more containers
    Pause(Lazy<lifecycle::NameArgs>),
    /// Unpause all processes within one or more containers
    Unpause(Lazy<lifecycle::NameArgs>),
    /// Block until one or more containers stop, then print their exit codes
    Wait(Lazy<wait::Args>),
    /// Remove one or more containers
    Rm(Lazy<rm::Args>),
    /// Fetch the logs of a container
    Logs(Lazy<logs::Args>),
    /// Attach local standard input, output, and error streams to a running container
    Attach(Lazy<attach::Args>),
    /// Execute a command in a running container
    Exec(Lazy<exec::Args>),
    /// Display the running processes of a container
    Top(Lazy<top::Args>),
    /// Rename a container
    Rename(Lazy<rename::Args>),
    /// List port mappings or a specific mapping for the container
    Port(Lazy<port::Args>),
    /// Copy files/folders between a container and the local filesystem
    Cp(Lazy<cp::Args>),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(Lazy<diff::Args>),
    /// Export a container's filesystem as a tar archive
    Export(Lazy<export::Args>),
    /// Create a new image from a container's changes
    Commit(Lazy<commit::Args>),
    /// Display a live stream of container(s) resource usage statistics
    Stats(Lazy<stats::Args>),
    /// Update configuration of one or more containers
    Update(Lazy<update::Args>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(Verb),
    /// List containers
    #[command(visible_aliases = ["ps", "list"])]
    Ls(Lazy<ls::Args>),
    /// Display detailed information on one or more containers
    Inspect(Lazy<ls::InspectArgs>),
    /// Mount something into a container that exists, be it running or not; without flags list its mounts
    Mount(Lazy<mount::Args>),
    /// Remove all stopped containers
    Prune(Lazy<prune::Args>),
    /// Take a mount out of a container
    #[command(visible_alias = "umount")]
    Unmount(Lazy<mount::UnmountArgs>),
}

impl Verb {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
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
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Verb(verb) => verb.run(client),
            Self::Ls(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Mount(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Unmount(args) => args.run(client),
        }
    }
}

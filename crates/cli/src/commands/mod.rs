//! The command line: every command, its flags, its help.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::endpoint::EndpointArgs;
use crate::failure::{Failure, Outcome};
use crate::grammar::Lazy;
use crate::http::Client;

mod backup;
mod builder;
mod container;
mod image;
mod meta;
mod network;
mod plugin;
mod pool;
mod registry;
mod stack;
mod system;
mod volume;

pub(crate) use builder::prune::prune as builder_prune;
pub(crate) use container::{
    prune as container_prune, split_tag as container_split_tag, time as container_time,
};
pub(crate) use image::prune::prune as image_prune;
pub(crate) use image::pull::pull as image_pull;
pub(crate) use network::prune::prune as network_prune;
pub(crate) use registry::hidden as registry_hidden;
pub(crate) use volume::prune::prune as volume_prune;
pub(crate) use volume::{file_line as volume_file_line, seconds as volume_seconds};

/// Containers that keep their data
#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Container(container::Verb),
    /// List containers
    Ps(Lazy<container::ls::Args>),
    #[command(flatten)]
    Image(image::Verb),
    /// List images
    Images(Lazy<image::ls::Args>),
    /// Remove one or more images
    Rmi(Lazy<image::rm::Args>),
    #[command(flatten)]
    System(system::Verb),
    #[command(flatten)]
    Registry(registry::Verb),
    /// Return low-level information on objects
    Inspect(Lazy<system::inspect::Args>),
    /// Manage containers
    #[command(name = "container", subcommand)]
    Containers(Lazy<container::Command>),
    /// Manage images
    #[command(name = "image", subcommand)]
    Imagery(Lazy<image::Command>),
    /// Manage builds
    #[command(subcommand)]
    Builder(Lazy<builder::Command>),
    /// Manage volumes
    #[command(subcommand)]
    Volume(Lazy<volume::Command>),
    /// Manage backups and where they are kept
    #[command(subcommand)]
    Backup(Lazy<backup::Command>),
    /// Manage containers with what belongs to them
    #[command(subcommand)]
    Stack(Lazy<stack::Command>),
    /// Manage storage pools
    #[command(subcommand)]
    Pool(Lazy<pool::Command>),
    /// Manage networks
    #[command(subcommand)]
    Network(Lazy<network::Command>),
    /// Manage plugins
    #[command(subcommand)]
    Plugin(Lazy<plugin::Command>),
    /// Manage the engine
    #[command(name = "system", subcommand)]
    Whole(Lazy<system::Command>),
    /// Run the engine in the foreground
    Serve(Lazy<meta::ServeArgs>),
    /// Print a completion script for a shell
    Completion(Lazy<meta::CompletionArgs>),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(Lazy<meta::ManArgs>),
}

impl Cli {
    pub(crate) fn run(&self) -> Outcome<i32> {
        let client = Client::new(self.endpoint.resolve()?);
        match &self.command {
            Command::Container(verb) => verb.run(&client),
            Command::Ps(args) => args.run(&client),
            Command::Image(verb) => verb.run(&client),
            Command::Images(args) => args.run(&client),
            Command::Rmi(args) => args.run(&client),
            Command::System(verb) => verb.run(&client),
            Command::Registry(verb) => verb.run(&client),
            Command::Inspect(args) => args.run(&client),
            Command::Containers(command) => command.run(&client),
            Command::Imagery(command) => command.run(&client),
            Command::Builder(command) => command.run(&client),
            Command::Volume(command) => command.run(&client),
            Command::Backup(command) => command.run(&client),
            Command::Stack(command) => command.run(&client),
            Command::Pool(command) => command.run(&client),
            Command::Network(command) => command.run(&client),
            Command::Plugin(command) => command.run(&client),
            Command::Whole(command) => command.run(&client),
            Command::Serve(_) => Err(Failure::new("serve is run by the orlop program itself")),
            Command::Completion(args) => args.run(&mut Self::command()),
            Command::Man(args) => args.run(Self::command()),
        }
    }
}

//! The command line: every command, its flags, its help.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::endpoint::EndpointArgs;
use crate::failure::{Failure, Outcome};
use crate::http::Client;

mod container;
mod image;
mod meta;
mod network;
mod system;
mod volume;

pub(crate) use container::{
    prune as container_prune, split_tag as container_split_tag, time as container_time,
};
pub(crate) use image::prune::prune as image_prune;
pub(crate) use volume::prune::prune as volume_prune;

/// Containers that keep their data
#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Run 'orlop COMMAND --help' for more information on a command."
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
    Ps(container::ls::Args),
    #[command(flatten)]
    Image(image::Verb),
    /// List images
    Images(image::ls::Args),
    /// Remove one or more images
    Rmi(image::rm::Args),
    #[command(flatten)]
    System(system::Verb),
    /// Return low-level information on objects
    Inspect(system::inspect::Args),
    /// Manage containers
    #[command(name = "container", subcommand)]
    Containers(container::Command),
    /// Manage images
    #[command(name = "image", subcommand)]
    ImageCommand(image::Command),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Command),
    /// Manage the engine
    #[command(name = "system", subcommand)]
    SystemCommand(system::Command),
    /// Run the engine in the foreground
    Serve(meta::ServeArgs),
    /// Print a completion script for a shell
    Completion(meta::CompletionArgs),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(meta::ManArgs),
}

impl Cli {
    pub(crate) fn run(self) -> Outcome<i32> {
        let client = Client::new(self.endpoint.resolve()?);
        match self.command {
            Command::Container(verb) => verb.run(&client),
            Command::Ps(args) => args.run(&client),
            Command::Image(verb) => verb.run(&client),
            Command::Images(args) => args.run(&client),
            Command::Rmi(args) => args.run(&client),
            Command::System(verb) => verb.run(&client),
            Command::Inspect(args) => args.run(&client),
            Command::Containers(command) => command.run(&client),
            Command::ImageCommand(command) => command.run(&client),
            Command::Volume(command) => command.run(&client),
            Command::Network(command) => command.run(&client),
            Command::SystemCommand(command) => command.run(&client),
            Command::Serve(_) => Err(Failure::new("serve is run by the orlop program itself")),
            Command::Completion(args) => args.run(&mut Cli::command()),
            Command::Man(args) => args.run(Cli::command()),
        }
    }
}

/// Prints what clap found wrong in docker's way; help and version are no errors.
pub(crate) fn usage_error(error: &clap::Error) -> i32 {
    use clap::error::{ContextKind, ErrorKind};
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            1
        }
        ErrorKind::InvalidSubcommand => {
            let word = error
                .get(ContextKind::InvalidSubcommand)
                .map(ToString::to_string)
                .unwrap_or_default();
            eprintln!("orlop: '{word}' is not an orlop command.\nSee 'orlop --help'");
            1
        }
        _ => {
            eprint!("{error}");
            // As docker: a bad flag of run or create is 125, so that it is told from the container's own code.
            let mut words = std::env::args_os()
                .skip(1)
                .filter(|word| !word.to_string_lossy().starts_with('-'));
            let first = words.next().unwrap_or_default();
            if first == "run"
                || first == "exec"
                || (first == "container" && words.next().is_some_and(|word| word == "run"))
            {
                125
            } else {
                1
            }
        }
    }
}

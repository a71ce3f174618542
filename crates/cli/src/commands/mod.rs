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
    Imagery(image::Command),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Command),
    /// Manage the engine
    #[command(name = "system", subcommand)]
    Whole(system::Command),
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
            Command::Imagery(command) => command.run(&client),
            Command::Volume(command) => command.run(&client),
            Command::Network(command) => command.run(&client),
            Command::Whole(command) => command.run(&client),
            Command::Serve(_) => Err(Failure::new("serve is run by the orlop program itself")),
            Command::Completion(args) => args.run(&mut Self::command()),
            Command::Man(args) => args.run(Self::command()),
        }
    }
}

/// Parses the command line of this process. Values may begin with a dash, as docker takes them.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    use clap::FromArgMatches as _;
    let matches = dashes_are_values(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn dashes_are_values(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let takes_value = argument.get_action().takes_values() && !argument.is_positional();
            if takes_value {
                argument.allow_hyphen_values(true)
            } else {
                argument
            }
        })
        .mut_subcommands(dashes_are_values)
}

/// Prints what clap found wrong in docker's words; help and version are no errors.
pub(crate) fn usage_error(error: &clap::Error) -> i32 {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let command = typed_command();
    let hint = format!("Run '{command} --help' for more information");
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
            let word = context(ContextKind::InvalidSubcommand);
            eprintln!("orlop: '{word}' is not an orlop command.\nSee 'orlop --help'");
            1
        }
        ErrorKind::UnknownArgument => {
            let word = context(ContextKind::InvalidArg);
            let short = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            match short.and_then(|rest| rest.chars().next()) {
                Some(letter) => eprintln!("unknown shorthand flag: '{letter}' in {word}\n\n{hint}"),
                None if word.starts_with("--") => eprintln!("unknown flag: {word}\n\n{hint}"),
                None => {
                    eprintln!("orlop: '{command}' accepts fewer arguments: {word}\n\n{hint}");
                    return 1;
                }
            }
            125
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(list)) => list.len().max(1),
                _ => 1,
            };
            let plural = if missing == 1 { "" } else { "s" };
            eprintln!("orlop: '{command}' requires at least {missing} argument{plural}\n\n{hint}");
            1
        }
        _ => {
            eprint!("{error}");
            125
        }
    }
}

/// `orlop volume rm`, as far as the words of the command line name commands.
fn typed_command() -> String {
    let mut named = vec!["orlop".to_owned()];
    let mut command = Cli::command();
    for word in std::env::args_os().skip(1) {
        let word = word.to_string_lossy().into_owned();
        let Some(below) = command.find_subcommand(&word).cloned() else {
            continue;
        };
        named.push(word);
        command = below;
    }
    named.join(" ")
}

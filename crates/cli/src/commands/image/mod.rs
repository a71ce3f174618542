//! Images.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

pub(crate) mod build;
mod history;
mod import;
mod load;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod pull;
mod push;
pub(crate) mod rm;
pub(crate) mod save;
mod tag;

// Those that docker has both with and without `image` in front. No text for help: that of the command around them stays.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build an image from a Dockerfile
    Build(Lazy<build::Args>),
    /// Import the contents from a tarball to create a filesystem image
    Import(Lazy<import::Args>),
    /// Load an image from a tar archive or STDIN
    Load(Lazy<load::Args>),
    /// Download an image from a registry
    Pull(Lazy<pull::Args>),
    /// Upload an image to a registry
    Push(Lazy<push::Args>),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(Lazy<save::Args>),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(Lazy<tag::Args>),
    /// Show the history of an image
    History(Lazy<history::Args>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Verb(Verb),
    /// List images
    #[command(visible_alias = "list")]
    Ls(Lazy<ls::Args>),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Args>),
    /// Display detailed information on one or more images
    Inspect(Lazy<ls::InspectArgs>),
    /// Remove unused images
    Prune(Lazy<prune::Args>),
}

impl Verb {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Build(args) => args.run(client),
            Self::Import(args) => args.run(client),
            Self::Load(args) => args.run(client),
            Self::Pull(args) => args.run(client),
            Self::Push(args) => args.run(client),
            Self::Save(args) => args.run(client),
            Self::Tag(args) => args.run(client),
            Self::History(args) => args.run(client),
        }
    }
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Verb(verb) => verb.run(client),
            Self::Ls(args) => args.run(client),
            Self::Rm(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Prune(args) => args.run(client),
        }
    }
}

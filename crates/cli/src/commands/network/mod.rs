//! Networks.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

mod connect;
mod create;
mod disconnect;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect a container to a network
    Connect(Lazy<connect::Args>),
    /// Create a network
    Create(Lazy<create::Args>),
    /// Disconnect a container from a network
    Disconnect(Lazy<disconnect::Args>),
    /// Display detailed information on one or more networks
    Inspect(Lazy<inspect::Args>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Lazy<ls::Args>),
    /// Remove all unused networks
    Prune(Lazy<prune::Args>),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(Lazy<rm::Args>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Connect(args) => args.run(client),
            Self::Create(args) => args.run(client),
            Self::Disconnect(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Rm(args) => args.run(client),
        }
    }
}

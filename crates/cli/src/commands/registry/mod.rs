//! Registries.

use clap::Subcommand;

use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;

mod login;
mod logout;
mod search;

pub(crate) use login::hidden;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Log in to a registry
    Login(Lazy<login::Args>),
    /// Log out from a registry
    Logout(Lazy<logout::Args>),
    /// Search Docker Hub for images
    Search(Lazy<search::Args>),
}

impl Verb {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Login(args) => args.run(client),
            Self::Logout(args) => args.run(),
            Self::Search(args) => args.run(client),
        }
    }
}

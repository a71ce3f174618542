//! The engine as a whole.

use std::io::{self, BufRead as _, Write as _};

use clap::Subcommand;

use crate::failure::{Failure, Outcome};
use crate::grammar::Lazy;
use crate::http::Client;

mod df;
mod dial_stdio;
mod events;
mod info;
pub(crate) mod inspect;
mod metrics;
mod prune;
mod rescue;
mod version;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Get real time events from the server
    Events(Lazy<events::Args>),
    /// Display system-wide information
    Info(Lazy<info::Args>),
    /// Show the version information
    Version(Lazy<version::Args>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show disk usage
    Df(Lazy<df::Args>),
    /// Proxy the stdio stream to the daemon connection
    #[command(hide = true)]
    DialStdio(Lazy<dial_stdio::Args>),
    /// Get real time events from the server
    Events(Lazy<events::Args>),
    /// Display system-wide information
    Info(Lazy<info::Args>),
    /// Print metrics for Prometheus
    Metrics(Lazy<metrics::Args>),
    /// Remove unused data
    Prune(Lazy<prune::Args>),
    /// Make the records of volumes anew from what lies beside their data
    Rescue(Lazy<rescue::Args>),
}

impl Verb {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Events(args) => args.run(client),
            Self::Info(args) => args.run(client),
            Self::Version(args) => args.run(client),
        }
    }
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Df(args) => args.run(client),
            Self::DialStdio(args) => args.run(client),
            Self::Events(args) => args.run(client),
            Self::Info(args) => args.run(client),
            Self::Metrics(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Rescue(args) => args.run(client),
        }
    }
}

/// Asks before something is removed.
pub(crate) fn confirm(force: bool, warning: &str) -> Outcome<()> {
    if force {
        return Ok(());
    }
    print!("{warning}\nAre you sure you want to continue? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new("operation cancelled"))
    }
}

//! Backups: repositories and what is in them.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::grammar::Lazy;
use crate::http::{Body, Client};
use crate::json::{each, text};
use crate::render::course::Course;
use crate::render::units::human_size;

mod check;
mod drill;
mod files;
mod forget;
mod key;
mod ls;
mod repository;
mod schedule;
mod secret;
mod show;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a repository that exists a name
    Add(Lazy<repository::AddArgs>),
    /// Print a file of a backup
    Cat(Lazy<files::CatArgs>),
    /// Look whether a repository is whole
    Check(Lazy<check::CheckArgs>),
    /// Let backups go to a repository when none is named, or show where they go
    Default(Lazy<repository::DefaultArgs>),
    /// Restore a backup into a volume of its own and look at it: that proves it
    Drill(Lazy<drill::Args>),
    /// List drills that were done
    Drills(Lazy<drill::LsArgs>),
    /// List files of a backup
    Files(Lazy<files::ListArgs>),
    /// Forget backups: those that no rule keeps, or one by its id
    Forget(Lazy<forget::Args>),
    /// Create a repository and give it a name
    Init(Lazy<repository::InitArgs>),
    /// Passwords that open a repository
    #[command(subcommand)]
    Key(Lazy<key::Command>),
    /// Forget the key of a repository: nothing uses it until it is unlocked
    #[command(visible_alias = "forget-key")]
    Lock(Lazy<repository::LockArgs>),
    /// List backups
    #[command(visible_alias = "list")]
    Ls(Lazy<ls::Args>),
    /// Give back the room that forgotten backups took
    Prune(Lazy<forget::PruneArgs>),
    /// List repositories
    Repos(Lazy<repository::ReposArgs>),
    /// Forget the name of a repository; its backups stay where they are
    RmRepo(Lazy<repository::RmRepoArgs>),
    /// Backups that are made by themselves
    #[command(subcommand)]
    Schedule(Lazy<schedule::Command>),
    /// Display detailed information on a backup
    Show(Lazy<show::Args>),
    /// Keep the key of a repository again
    Unlock(Lazy<repository::UnlockArgs>),
    /// Read all that a backup needs, and say whether it can be restored
    Verify(Lazy<check::VerifyArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Add(args) => args.run(client),
            Self::Cat(args) => args.run(client),
            Self::Check(args) => args.run(client),
            Self::Default(args) => args.run(client),
            Self::Drill(args) => args.run(client),
            Self::Drills(args) => args.run(client),
            Self::Files(args) => args.run(client),
            Self::Forget(args) => args.run(client),
            Self::Init(args) => args.run(client),
            Self::Key(command) => command.run(client),
            Self::Lock(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Prune(args) => args.run(client),
            Self::Repos(args) => args.run(client),
            Self::RmRepo(args) => args.run(client),
            Self::Schedule(command) => command.run(client),
            Self::Show(args) => args.run(client),
            Self::Unlock(args) => args.run(client),
            Self::Verify(args) => args.run(client),
        }
    }
}

/// `--json` of lists that are for people otherwise.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct JsonArg {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sends what takes long, shows how far it is, and gives its result.
pub(crate) fn long(client: &Client, course: &Course, path: &str, body: &Value) -> Outcome<Value> {
    let answer = client.send("POST", path, Body::Json(body))?.body;
    let mut result = Value::Null;
    course.follow(answer, |value| {
        result = value.clone();
        Ok(())
    })?;
    if result.is_null() {
        return Err(Failure::new(
            "the engine's answer has no result: what it did is in its log",
        ));
    }
    Ok(result)
}

/// The beginning of an id, as it is shown and understood.
pub(crate) fn short(id: &Value) -> String {
    text(id).chars().take(8).collect()
}

/// A size, or nothing where it is not known.
pub(crate) fn size(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, human_size)
}

/// What the engine says beside its result.
pub(crate) fn warn(result: &Value) {
    for warning in each(&result["Warnings"]) {
        eprintln!("WARNING: {}", text(warning));
    }
}

//! Stacks: containers with the volumes and networks that belong to them.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use crate::commands::backup::{long, short, warn};
use crate::failure::Outcome;
use crate::grammar::Lazy;
use crate::http::Client;
use crate::json::{each, text};
use crate::render::course::CourseArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Restore the volumes of one backup, and create the containers that had them, with their networks
    Restore(Lazy<RestoreArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Restore(args) => args.run(client),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    /// Start the containers that ran when the backup was made
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    course: CourseArgs,
    /// One backup of the volumes that were backed up together
    #[arg(value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backup: String,
}

impl RestoreArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let body = json!({ "Backup": self.backup, "Start": self.start });
        let done = long(client, &course, "/orlop/v1/backups/stack", &body)?;
        warn(&done);
        for volume in each(&done["Volumes"]) {
            println!(
                "volume {} ({})",
                text(&volume["Volume"]),
                short(&volume["Backup"])
            );
        }
        for (what, key) in [
            ("network", "Networks"),
            ("container", "Containers"),
            ("started", "Started"),
        ] {
            for name in each(&done[key]) {
                println!("{what} {}", text(name));
            }
        }
        Ok(0)
    }
}

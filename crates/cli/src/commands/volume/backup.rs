//! `volume backup`.

use clap::Args as ClapArgs;
use serde_json::json;

use super::snapshot::{AroundArgs, tell_frozen};
use crate::commands::backup::{long, short, size, warn};
use crate::failure::{Failure, Outcome};
use crate::http::Client;
use crate::json::{each, text};
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// All volumes
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    around: AroundArgs,
    /// Say that another host made the backup (default: this host's name)
    #[arg(long, value_name = "string")]
    host: Option<String>,
    /// Volumes that have all of these labels ("key" or "key=value")
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Mark the backup with a tag
    #[arg(long, value_name = "string")]
    tag: Vec<String>,
    /// Repository, by name or location (default: the default one)
    #[arg(long, value_name = "string")]
    to: Option<String>,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.volumes.is_empty() && self.label.is_empty() && !self.all {
            return Err(Failure::new(
                "no volume is named: name some, or use --label or --all",
            ));
        }
        let mut body = json!({
            "Volumes": self.volumes,
            "All": self.all,
            "Labels": self.label,
            "To": self.to,
            "Tags": self.tag,
            "Host": self.host,
        });
        self.around.add_to(&mut body)?;
        let course = self.course.course()?;
        let done = long(client, &course, "/orlop/v1/backups", &body)?;
        warn(&done);
        for backup in each(&done["Backups"]) {
            println!(
                "{}:{}@{} {} files, {}, {} new",
                text(&done["Repository"]),
                text(&backup["Volume"]),
                short(&backup["Id"]),
                backup["Files"],
                size(&backup["Bytes"]),
                size(&backup["StoredBytes"]),
            );
        }
        tell_frozen(&done);
        let mut code = 0;
        for one in each(&done["Failed"]) {
            eprintln!("Error: {}", text(&one["Error"]));
            code = 1;
        }
        Ok(code)
    }
}

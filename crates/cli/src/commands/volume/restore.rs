//! `volume restore`: from a snapshot, or from a backup.

use clap::Args as ClapArgs;
use serde_json::json;

use super::snapshot::split;
use crate::commands::backup::{long, short, size, warn as warn_of_backup};
use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};
use crate::json::text;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Restore a backup to a new volume of this name
    #[arg(long = "as", value_name = "string")]
    name: Option<String>,
    /// Also while running containers have the volume; they keep what it held until they are restarted
    #[arg(short, long)]
    force: bool,
    /// Restore only this directory of a backup, as the whole of a new volume
    #[arg(long, value_name = "string")]
    path: Option<String>,
    /// Bring back what the last restore of VOLUME took away
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    course: CourseArgs,
    /// VOLUME@SNAPSHOT, or REPOSITORY:VOLUME for its newest backup, with @TIME or @ID another one
    #[arg(value_name = "VOLUME@SNAPSHOT|REPOSITORY:VOLUME[@TIME|@ID]")]
    target: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        // No name of a volume has a colon.
        let of_backup = self
            .target
            .split('@')
            .next()
            .is_some_and(|name| name.contains(':'));
        if of_backup && !self.undo {
            return self.restore_backup(client);
        }
        if self.name.is_some() || self.path.is_some() {
            return Err(Failure::new(
                "--as and --path are for backups, REPOSITORY:VOLUME; a snapshot becomes another volume by volume clone",
            ));
        }
        let (volume, body) = if self.undo {
            (
                self.target.as_str(),
                json!({ "Undo": true, "Force": self.force }),
            )
        } else {
            let (volume, snapshot) = split(&self.target)?;
            (volume, json!({ "Snapshot": snapshot, "Force": self.force }))
        };
        let course = self.course.course()?;
        let path = format!("/orlop/v1/volumes/{}/restore?progress=1", encode(volume));
        let restored = long(client, &course, &path, &body)?;
        println!("{volume} is {volume}@{} again", text(&restored["Restored"]));
        tell_kept(volume, restored["Kept"].as_str());
        Ok(0)
    }

    fn restore_backup(&self, client: &Client) -> Outcome<i32> {
        let body = json!({
            "Backup": self.target,
            "Name": self.name,
            "Path": self.path,
            "Force": self.force,
        });
        let course = self.course.course()?;
        let done = long(client, &course, "/orlop/v1/backups/restore", &body)?;
        warn_of_backup(&done);
        let volume = text(&done["Volume"]);
        println!(
            "{volume} is backup {} of {}: {} files, {}",
            short(&done["Backup"]),
            text(&done["Time"]),
            done["Files"],
            size(&done["Bytes"])
        );
        tell_kept(volume, done["Kept"].as_str());
        Ok(0)
    }
}

fn tell_kept(volume: &str, kept: Option<&str>) {
    if let Some(kept) = kept {
        println!("what it held is kept as {volume}@{kept}");
    }
}

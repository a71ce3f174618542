//! `volume restore`.

use clap::Args as ClapArgs;
use serde_json::json;

use super::snapshot::{split, text, warn};
use crate::failure::Outcome;
use crate::http::{Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Also while running containers have the volume; they keep what it held until they are restarted
    #[arg(short, long)]
    force: bool,
    /// Bring back what the last restore of VOLUME took away
    #[arg(long)]
    undo: bool,
    #[arg(value_name = "VOLUME@SNAPSHOT")]
    target: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let (volume, body) = if self.undo {
            (
                self.target.as_str(),
                json!({ "Undo": true, "Force": self.force }),
            )
        } else {
            let (volume, snapshot) = split(&self.target)?;
            (volume, json!({ "Snapshot": snapshot, "Force": self.force }))
        };
        let path = format!("/orlop/v1/volumes/{}/restore", encode(volume));
        let restored = client.post(&path, &body)?;
        warn(&restored);
        println!("{volume} is {volume}@{} again", text(&restored["Restored"]));
        if let Some(kept) = restored["Kept"].as_str() {
            println!("what it held is kept as {volume}@{kept}");
        }
        Ok(0)
    }
}

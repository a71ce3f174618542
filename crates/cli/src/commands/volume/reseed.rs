//! `volume reseed`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::commands::backup::long;
use crate::failure::Outcome;
use crate::http::{Client, encode};
use crate::json::text;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// IMAGE or IMAGE:/PATH; without it what filled the volume, as it is called now
    #[arg(long, value_name = "IMAGE[:/PATH]")]
    from: Option<String>,
    /// Only show what is different (the default)
    #[arg(long)]
    diff: bool,
    /// Take over what is new, and keep what was changed in the volume
    #[arg(long, conflicts_with = "diff")]
    merge: bool,
    /// Take over what is new, also where the volume was changed; what was added to it stays
    #[arg(long, conflicts_with_all = ["diff", "merge"])]
    replace: bool,
    /// Do not keep what the volume holds as a snapshot first
    #[arg(long)]
    no_snapshot: bool,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mode = match (self.merge, self.replace) {
            (true, _) => "merge",
            (_, true) => "replace",
            _ => "diff",
        };
        let body = json!({ "From": self.from, "Mode": mode, "NoSnapshot": self.no_snapshot });
        let path = format!(
            "/orlop/v1/volumes/{}/reseed?progress=1",
            encode(&self.volume)
        );
        let done = long(client, &self.course.course()?, &path, &body)?;
        let changes = done["Changes"].as_array().map_or(&[][..], Vec::as_slice);
        for change in changes {
            println!("{} {}", text(&change["Kind"]), text(&change["Path"]));
        }
        if done["BaseKnown"] != Value::Bool(true) {
            eprintln!(
                "the image that filled {} is not there: only what is missing can be told from what was changed",
                self.volume
            );
        }
        if let Some(kept) = done["Kept"].as_str() {
            println!("what it held is kept as {}@{kept}", self.volume);
        }
        Ok(0)
    }
}

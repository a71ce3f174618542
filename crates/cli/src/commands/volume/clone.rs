//! `volume clone`.

use clap::Args as ClapArgs;
use serde_json::json;

use super::snapshot::{AroundArgs, all_done, labels, split, tell_frozen};
use crate::commands::backup::long;
use crate::failure::Outcome;
use crate::http::{Client, encode};
use crate::json::text;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Set metadata for the new volume
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Where the new volume shall lie
    #[arg(long, value_name = "pool")]
    pool: Option<String>,
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// A volume as it is now, or VOLUME@SNAPSHOT
    #[arg(value_name = "VOLUME[@SNAPSHOT]")]
    source: String,
    #[arg(value_name = "NEW")]
    name: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body =
            json!({ "Name": self.name, "Labels": labels(&self.label), "Pool": self.pool });
        let volume = if self.source.contains('@') {
            let (volume, snapshot) = split(&self.source)?;
            body["Snapshot"] = json!(snapshot);
            volume
        } else {
            self.source.as_str()
        };
        self.around.add_to(&mut body)?;
        let course = self.course.course()?;
        let path = format!("/orlop/v1/volumes/{}/clone?progress=1", encode(volume));
        let cloned = long(client, &course, &path, &body)?;
        println!("{}", text(&cloned["Name"]));
        if !self.course.is_quiet() {
            tell_frozen(&cloned);
        }
        all_done(&cloned, "the volume is made")?;
        Ok(0)
    }
}

//! `volume resize`: how much a volume may hold.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::backup::long;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, Query, encode};
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Files that it may hold, 0 for as many as there is room for
    #[arg(long, value_name = "number")]
    inodes: Option<u64>,
    /// Tell of it (event "soft_limit") once the volume holds more; 0 for never
    #[arg(long, value_name = "bytes")]
    soft_limit: Option<String>,
    #[command(flatten)]
    course: CourseArgs,
    /// Volume to resize
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// Bytes that it may hold (10g), 0 for as much as there is room for
    #[arg(value_name = "SIZE")]
    size: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.size.is_none() && self.soft_limit.is_none() && self.inodes.is_none() {
            return Err(Failure::new(
                "nothing to change: give a size, --soft-limit or --inodes",
            ));
        }
        let path = format!("/orlop/v1/volumes/{}/resize", encode(&self.volume));
        let query = Query::new(path)
            .option("size", self.size.as_ref())
            .option("softSize", self.soft_limit.as_ref())
            .option("inodes", self.inodes)
            .set("progress", "1");
        let course = self.course.course()?;
        long(client, &course, &query.build(), &Value::Null)?;
        println!("{}", self.volume);
        Ok(0)
    }
}

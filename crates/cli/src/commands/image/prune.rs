//! `image prune`.

use clap::Args as ClapArgs;

use serde_json::Value;

use crate::commands::backup::long;
use crate::commands::system::confirm;
use crate::failure::Outcome;
use crate::http::{Client, Query};
use crate::render::course::{Course, CourseArgs};
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    course: CourseArgs,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let warning = if self.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        };
        confirm(self.force, warning)?;
        let reclaimed = prune(client, &self.course.course()?, self.all, &self.filter)?;
        println!("Total reclaimed space: {}", human_size(reclaimed));
        Ok(0)
    }
}

/// Prints what was deleted; the bytes that became free.
pub(crate) fn prune(
    client: &Client,
    course: &Course,
    all: bool,
    filters: &[String],
) -> Outcome<f64> {
    let mut filters = filters.to_vec();
    filters.push(format!("dangling={}", !all));
    let path = Query::new("/images/prune")
        .filters(&filters)?
        .set("progress", "1")
        .build();
    let report = long(client, course, &path, &Value::Null)?;
    let deleted = report["ImagesDeleted"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !deleted.is_empty() {
        println!("Deleted Images:");
        for one in &deleted {
            if let Some(name) = one["Untagged"].as_str() {
                println!("untagged: {name}");
            }
            if let Some(id) = one["Deleted"].as_str() {
                println!("deleted: {id}");
            }
        }
        println!();
    }
    Ok(report["SpaceReclaimed"].as_f64().unwrap_or(0.0))
}

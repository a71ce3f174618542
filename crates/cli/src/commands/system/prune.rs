//! `system prune`.

use clap::Args as ClapArgs;

use super::confirm;
use crate::commands::{builder_prune, container_prune, image_prune, network_prune, volume_prune};
use crate::failure::{Failure, Outcome};
use crate::http::{Client, Query};
use crate::render::course::CourseArgs;
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    course: CourseArgs,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.volumes
            && self
                .filter
                .iter()
                .any(|filter| filter.starts_with("until="))
        {
            return Err(Failure::new(
                "ERROR: The \"until\" filter is not supported with \"--volumes\"",
            ));
        }
        let volumes = if self.volumes {
            "  - all anonymous volumes not used by at least one container\n"
        } else {
            ""
        };
        let images = if self.all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        confirm(
            self.force,
            &format!(
                "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n{volumes}  - {images}\n  - unused build cache\n"
            ),
        )?;
        let course = self.course.course()?;
        let mut reclaimed = container_prune(client, &self.filter)?;
        network_prune(client, &self.filter)?;
        let volumes = if self.volumes {
            Some(volume_prune(client, false, &self.filter)?)
        } else {
            None
        };
        reclaimed += volumes.as_ref().map_or(0.0, |report| report.reclaimed);
        reclaimed += image_prune(client, &course, self.all, &self.filter)?;
        // Labels are for what has some.
        let until: Vec<String> = (self.filter.iter())
            .filter(|filter| filter.starts_with("until="))
            .cloned()
            .collect();
        let cache = Query::new("/build/prune")
            .flag("all", self.all)
            .filters(&until)?
            .build();
        reclaimed += builder_prune(client, &cache)?;
        println!("Total reclaimed space: {}", human_size(reclaimed));
        if let Some(volumes) = volumes {
            volumes.tell_trash();
        }
        Ok(0)
    }
}

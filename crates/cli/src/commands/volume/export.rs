//! `volume export`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::commands::image::save::write_out;
use crate::failure::Outcome;
use crate::http::{Body, Client, Query, encode};
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Compress the archive ("none", "gzip", "xz", "zstd")
    #[arg(long, value_name = "string", default_value = "none")]
    compress: String,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[command(flatten)]
    course: CourseArgs,
    /// A volume as it is now, or VOLUME@SNAPSHOT
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        write_out(self.output.as_deref(), || {
            let volume = encode(&self.volume);
            // What was measured last stands for how much there is; an archive that is compressed cannot be foreseen.
            let total = if course.is_shown() && self.compress == "none" {
                let detail = client.get(&format!("/orlop/v1/volumes/{volume}"));
                detail.map_or(0, |detail| detail["Usage"]["Bytes"].as_u64().unwrap_or(0))
            } else {
                0
            };
            let path = Query::new(format!("/orlop/v1/volumes/{volume}/export"))
                .set("compress", &self.compress)
                .build();
            let body = client.send("GET", &path, Body::Empty)?.body;
            Ok(course.item("Exporting", &self.volume, total).reading(body))
        })?;
        Ok(0)
    }
}

//! `volume import`.

use std::fs::File;
use std::io::{self, Read};

use clap::Args as ClapArgs;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, encode};
use crate::json::each;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    course: CourseArgs,
    /// Keep what the volume holds as a snapshot first
    #[arg(long)]
    safety_snapshot: bool,
    /// A volume; it is made if the archive was exported from one
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// A tar archive (plain, gzip, bzip2, xz or zstd), or - for standard input
    #[arg(value_name = "SOURCE", default_value = "-")]
    source: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.source == "-" && crate::terminal::stdin_is_terminal() {
            return Err(Failure::new(
                "requested import from stdin, but stdin is empty",
            ));
        }
        let course = self.course.course()?;
        let (input, total): (Box<dyn Read>, u64) = if self.source == "-" {
            (Box::new(io::stdin()), 0)
        } else {
            let file = File::open(&self.source)
                .map_err(|error| Failure::file("open", &self.source, &error))?;
            let total = file.metadata()?.len();
            (Box::new(file), total)
        };
        let mut input = course.item("Importing", &self.volume, total).reading(input);
        let mut path = format!("/orlop/v1/volumes/{}/import", encode(&self.volume));
        if self.safety_snapshot {
            path.push_str("?safetySnapshot=1");
        }
        let answer = client
            .send("POST", &path, Body::Stream("application/x-tar", &mut input))?
            .json()?;
        drop(input);
        for warning in each(&answer["Warnings"]) {
            eprintln!("WARNING: {}", warning.as_str().unwrap_or_default());
        }
        if answer["Created"] == true {
            println!("{}", self.volume);
        }
        Ok(0)
    }
}

//! `volume adopt`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::backup::long;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, Query, encode};
use crate::json::{each, text};
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Name of the volume, instead of the one it had
    #[arg(long, value_name = "string")]
    name: Option<String>,
    #[command(flatten)]
    course: CourseArgs,
    /// A directory on the engine's host, whose content is copied; one in the engine's own data, by its path or its name there as
    /// `volume audit` shows it, becomes the volume itself
    #[arg(value_name = "DIRECTORY")]
    directory: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let is_id = self.directory.len() == 32
            && self.directory.bytes().all(|byte| byte.is_ascii_hexdigit());
        let directory = if is_id {
            self.directory.clone()
        } else {
            // Links stay what they are.
            let path = std::path::absolute(&self.directory)
                .map_err(|error| Failure::file("open", &self.directory, &error))?;
            path.to_string_lossy().into_owned()
        };
        let path = Query::new(format!("/orlop/v1/adopt/{}", encode(&directory)))
            .option("name", self.name.as_ref())
            .set("progress", "1");
        let course = self.course.course()?;
        let volume = long(client, &course, &path.build(), &Value::Null)?;
        println!("{}", text(&volume["Name"]));
        if !self.course.is_quiet() {
            for warning in each(&volume["Warnings"]) {
                eprintln!("WARNING: {}", text(warning));
            }
        }
        Ok(0)
    }
}

//! `backup check` and `backup verify`: whether what was kept is there and whole.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::{long, short};
use crate::failure::{Failure, Outcome};
use crate::http::Client;
use crate::json::text;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Read everything
    #[arg(long)]
    read_data: bool,
    /// Read so much of the data, another part each time (e.g. 10%)
    #[arg(long, value_name = "percent", conflicts_with = "read_data")]
    sample: Option<String>,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "REPOSITORY", default_value = "")]
    repository: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    course: CourseArgs,
    #[arg(required = true, value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backups: Vec<String>,
}

impl CheckArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = json!({ "Backup": self.repository, "ReadData": self.read_data });
        if let Some(text) = &self.sample {
            let percent: f64 = text
                .trim_end_matches('%')
                .trim()
                .parse()
                .map_err(|_| Failure::flag("--sample", text, "write 10%"))?;
            body["SamplePercent"] = json!(percent);
        }
        let course = self.course.course()?;
        let done = long(client, &course, "/orlop/v1/backups/verify", &body)?;
        Ok(tell(
            &format!("repository {}", text(&done["Repository"])),
            &done,
        ))
    }
}

impl VerifyArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let mut code = 0;
        for backup in &self.backups {
            let body = json!({ "Backup": backup, "ReadData": true });
            let done = long(client, &course, "/orlop/v1/backups/verify", &body)?;
            let what = match done["Backup"].as_str() {
                Some(_) => format!(
                    "backup {} in repository {}",
                    short(&done["Backup"]),
                    text(&done["Repository"])
                ),
                None => format!("repository {}", text(&done["Repository"])),
            };
            code = code.max(tell(&what, &done));
        }
        Ok(code)
    }
}

/// Says what was found; the exit code.
fn tell(what: &str, done: &Value) -> i32 {
    let problems = done["Problems"].as_array().cloned().unwrap_or_default();
    for problem in &problems {
        eprintln!("{}", text(&problem["Problem"]));
    }
    if problems.is_empty() {
        println!("{what}: no errors were found");
        0
    } else {
        println!("{what}: {} problems", problems.len());
        1
    }
}

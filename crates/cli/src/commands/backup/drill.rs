//! `backup drill` and `backup drills`: restores that prove backups.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::{long, short, size};
use crate::commands::volume::snapshot::seconds;
use crate::commands::volume::when;
use crate::failure::Outcome;
use crate::http::Client;
use crate::json::{each, text};
use crate::render::course::CourseArgs;
use crate::render::list::{self, Row};

/// What a drill does with the restored volume.
#[derive(Debug, ClapArgs)]
pub(crate) struct ExerciseArgs {
    /// Run a shell command on the restored volume in a container; it must end with 0
    #[arg(long, value_name = "command")]
    command: Option<String>,
    /// Set an environment variable of the command
    #[arg(long, value_name = "list")]
    env: Vec<String>,
    /// Image to run it in (default: that of the first container that had the volume)
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A ready-made command: auto, none, postgresql, mariadb, mysql, redis, sqlite
    #[arg(long, value_name = "string", default_value = "auto")]
    recipe: String,
    /// Where the volume is in the container (default: where that container had it, or /data)
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// Kill a command that takes longer (default 10m)
    #[arg(long, value_name = "duration")]
    timeout: Option<String>,
    /// Let the command write to the restored volume
    #[arg(long)]
    writable: bool,
}

impl ExerciseArgs {
    /// As the engine reads it.
    pub(crate) fn body(&self) -> Outcome<Value> {
        let mut body = json!({
            "Command": self.command.as_deref().unwrap_or_default(),
            "Env": self.env,
            "Image": self.image.as_deref().unwrap_or_default(),
            "Recipe": self.recipe,
            "Target": self.target.as_deref().unwrap_or_default(),
            "Writable": self.writable,
        });
        if let Some(text) = &self.timeout {
            body["TimeoutSeconds"] = json!(seconds("--timeout", text)?);
        }
        Ok(body)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    exercise: ExerciseArgs,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(required = true, value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backups: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let mut code = 0;
        for backup in &self.backups {
            let mut body = self.exercise.body()?;
            body["Backup"] = json!(backup);
            match long(client, &course, "/orlop/v1/drills", &body) {
                Ok(done) => {
                    println!(
                        "{}:{}@{} is proven: {} files, {}",
                        text(&done["Repository"]),
                        text(&done["Volume"]),
                        short(&done["Backup"]),
                        done["Files"],
                        size(&done["Bytes"]),
                    );
                    let said = text(&done["Output"]);
                    if !said.is_empty() {
                        println!("{said}");
                    }
                }
                Err(failure) => {
                    eprintln!("{failure}");
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("VOLUME", "Volume"),
    ("REPOSITORY", "Repository"),
    ("BACKUP", "Backup"),
    ("DRILLED", "Drilled"),
    ("TOOK", "Took"),
    ("RESULT", "Result"),
];

impl LsArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get("/orlop/v1/drills")?;
        let rows: Vec<Row> = each(&answer["Drills"]).map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(drill: &Value) -> Row {
    let milliseconds = drill["Milliseconds"].as_f64().unwrap_or_default();
    let result = if drill["Proven"] == true {
        "proven"
    } else {
        text(&drill["Failure"])
    };
    let Value::Object(row) = json!({
        "Volume": drill["Volume"],
        "Repository": drill["Repository"],
        "Backup": short(&drill["Backup"]),
        "Drilled": when(text(&drill["At"])),
        "At": drill["At"],
        "Took": format!("{:.1}s", milliseconds / 1e3),
        "Files": drill["Files"],
        "Size": size(&drill["Bytes"]),
        "Result": result,
    }) else {
        unreachable!("it is written as an object")
    };
    row
}

//! `backup files` and `backup cat`: looking into a backup without restoring it.

use std::io::{self, BufRead as _, BufReader, Write as _};

use clap::Args as ClapArgs;
use serde_json::Value;

use super::JsonArg;
use crate::commands::volume_file_line as line;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::render::list::wide_table;

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    json: JsonArg,
    /// Also what is in directories
    #[arg(short, long)]
    recursive: bool,
    #[arg(value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backup: String,
    #[arg(value_name = "PATH", default_value = "/")]
    path: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CatArgs {
    #[arg(value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backup: String,
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

impl ListArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new("/orlop/v1/backups/files")
            .set("backup", &self.backup)
            .set("path", &self.path)
            .set("recursive", if self.recursive { "1" } else { "0" })
            .build();
        let body = client.send("GET", &path, Body::Empty)?.body;
        let mut lines = Vec::new();
        let mut out = io::stdout().lock();
        for found in BufReader::new(body).lines() {
            let found = found?;
            if self.json.json {
                writeln!(out, "{found}")?;
                continue;
            }
            let entry: Value = serde_json::from_str(&found).map_err(|error| {
                Failure::new(format!(
                    "the engine's answer could not be understood: {error}"
                ))
            })?;
            lines.push(line(&entry));
        }
        if !lines.is_empty() {
            write!(out, "{}", wide_table(&lines, 0))?;
        }
        Ok(0)
    }
}

impl CatArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for file in &self.paths {
            let path = Query::new("/orlop/v1/backups/file")
                .set("backup", &self.backup)
                .set("path", file)
                .build();
            let mut body = client.send("GET", &path, Body::Empty)?.body;
            io::copy(&mut body, &mut io::stdout().lock())?;
        }
        Ok(0)
    }
}

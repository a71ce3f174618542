//! `container mount` and `container unmount`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::config::here;
use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, Query, encode};
use crate::json::{each, text};
use crate::parse::{mount, volume};
use crate::render::list::print_table;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Attach a filesystem mount, as for run
    #[arg(long, value_name = "mount")]
    mount: Vec<String>,
    /// Bind mount a volume, as for run
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Only until the container stops; it must run
    #[arg(long)]
    temporary: bool,
    /// Keep it over restarts, as part of the container's configuration (the default)
    #[arg(long, conflicts_with = "temporary")]
    persist: bool,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnmountArgs {
    /// Take it out even while processes use it: it goes when the last one leaves it
    #[arg(long)]
    lazy: bool,
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

fn route(container: &str) -> String {
    let name = encode(container.trim_start_matches('/'));
    format!("/orlop/v1/containers/{name}/mounts")
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = route(&self.container);
        let directory = here()?;
        let mut wanted = Vec::new();
        for text in &self.mount {
            let parsed = mount::parse(text, &directory).map_err(|why| {
                Failure::new(format!(
                    "invalid argument \"{text}\" for \"--mount\" flag: {why}"
                ))
            })?;
            wanted.push(json!({ "Mount": parsed }));
        }
        for text in &self.volume {
            let bind = match volume::parse(text, &directory).map_err(Failure::new)? {
                volume::Volume::Anonymous(text) | volume::Volume::Bind(text) => text,
            };
            wanted.push(json!({ "Bind": bind }));
        }
        if wanted.is_empty() {
            if self.temporary || self.persist {
                return Err(Failure::new("nothing to mount: give --mount or -v"));
            }
            list(&client.get(&path)?);
            return Ok(0);
        }
        for mut body in wanted {
            body["Temporary"] = json!(self.temporary);
            let answer = client.post(&path, &body)?;
            for warning in each(&answer["Warnings"]).filter_map(Value::as_str) {
                eprintln!("WARNING: {warning}");
            }
            println!("{}", text(&answer["Mount"]["Destination"]));
        }
        Ok(0)
    }
}

fn list(mounts: &Value) {
    let lines = each(mounts).map(|mount| {
        let source = match text(&mount["Name"]) {
            "" => text(&mount["Source"]),
            name => name,
        };
        let mut notes = Vec::new();
        if mount["Temporary"] == json!(true) {
            notes.push("temporary".to_owned());
        }
        if let Some(map) = mount["IDMap"].as_str() {
            notes.push(format!("idmap={map}"));
        }
        for path in each(&mount["Exclude"]) {
            notes.push(format!("without {}", text(path)));
        }
        vec![
            text(&mount["Destination"]).to_owned(),
            text(&mount["Type"]).to_owned(),
            if source.is_empty() { "-" } else { source }.to_owned(),
            if mount["RW"] == json!(true) {
                "rw"
            } else {
                "ro"
            }
            .to_owned(),
            notes.join(", "),
        ]
    });
    print_table(
        &[
            ("TARGET", ""),
            ("TYPE", ""),
            ("SOURCE", ""),
            ("MODE", ""),
            ("NOTES", ""),
        ],
        lines,
    );
}

impl UnmountArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.targets, |target| {
            let mut query = Query::new(route(&self.container)).set("target", target);
            if self.lazy {
                query = query.set("lazy", "1");
            }
            client.delete(&query.build())?;
            println!("{target}");
            Ok(())
        })
    }
}

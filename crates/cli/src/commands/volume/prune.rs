//! `volume prune`.

use clap::Args as ClapArgs;
use serde::Deserialize;
use serde_json::Value;

use super::ls::{AT_ONCE, measure_quickly};
use super::when;
use crate::commands::system::confirm;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::json::each;
use crate::render::list::{pretty, print_table};
use crate::render::units::human_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove exactly what a dry run with this token showed, or nothing
    #[arg(long, value_name = "token", conflicts_with = "dry_run")]
    exactly: Option<String>,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Print the dry run as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Delete for good, past the trash
    #[arg(long)]
    now: bool,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.all && self.filter.iter().any(|filter| filter.starts_with("all=")) {
            return Err(Failure::new(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        if self.dry_run {
            return self.show(client);
        }
        let warning = if self.all {
            "WARNING! This will remove all local volumes not used by at least one container."
        } else {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        };
        // What was shown needs no second question.
        confirm(self.force || self.exactly.is_some(), warning)?;
        // An engine that is not ours would understand the plain prune, and remove what it likes.
        let route = match self.exactly {
            Some(_) => OWN,
            None => DOCKERS,
        };
        let path = query(route, self.all, &self.filter)?
            .flag("now", self.now)
            .option("exactly", self.exactly.as_ref())
            .build();
        let report = send(client, &path)?;
        println!("Total reclaimed space: {}", human_size(report.reclaimed));
        report.tell_trash();
        Ok(0)
    }

    fn show(&self, client: &Client) -> Outcome<i32> {
        let path = query(OWN, self.all, &self.filter)?.build();
        if self.json {
            println!("{}", pretty(&client.get(&path)?));
            return Ok(0);
        }
        let mut report: DryRun = client.send("GET", &path, Body::Empty)?.read()?;
        let unknown: Vec<&str> = report
            .volumes
            .iter()
            .filter(|volume| volume.size.is_none())
            .map(|volume| volume.name.as_str())
            .collect();
        // Of very many the sizes are those that are known.
        if (1..=AT_ONCE).contains(&unknown.len()) && measure_quickly(client, &unknown)?.measured {
            report = client.send("GET", &path, Body::Empty)?.read()?;
        }
        if report.volumes.is_empty() {
            println!("Nothing would be removed.");
            return Ok(0);
        }
        let lines = report.volumes.into_iter().map(|volume| {
            let (used, by) = match volume.last_used {
                Some(last) => (when(&last.at), last.name),
                None => ("never".to_owned(), String::new()),
            };
            vec![
                volume.name,
                volume.size.map_or("-".to_owned(), human_size),
                when(&volume.created_at),
                used,
                by,
            ]
        });
        print_table(
            &[
                ("VOLUME NAME", ""),
                ("SIZE", ""),
                ("CREATED", ""),
                ("LAST USED", ""),
                ("BY", ""),
            ],
            lines,
        );
        let all = if self.all { " --all" } else { "" };
        let filters: String = self
            .filter
            .iter()
            .map(|filter| format!(" --filter {}", quoted(filter)))
            .collect();
        println!(
            "\nExactly these: orlop volume prune{all}{filters} --exactly {}",
            report.token
        );
        Ok(0)
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Read as it is, without a tree of values: there may be thousands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DryRun {
    token: String,
    volumes: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Candidate {
    name: String,
    created_at: String,
    last_used: Option<LastUse>,
    size: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LastUse {
    at: String,
    name: String,
}

const DOCKERS: &str = "/volumes/prune";
const OWN: &str = "/orlop/v1/prune";

fn query(route: &str, all: bool, filters: &[String]) -> Outcome<Query> {
    let mut filters = filters.to_vec();
    if all {
        filters.push("all=true".to_owned());
    }
    Query::new(route).filters(&filters)
}

/// What a prune did, in bytes.
pub(crate) struct Report {
    pub(crate) reclaimed: f64,
    /// They are free when the trash lets them go.
    in_trash: f64,
}

impl Report {
    /// Says what became no room yet.
    pub(crate) fn tell_trash(&self) {
        if self.in_trash > 0.0 {
            println!(
                "Kept in the trash: {} (`orlop volume trash empty` deletes it)",
                human_size(self.in_trash)
            );
        }
    }
}

/// Prints what was deleted.
pub(crate) fn prune(client: &Client, all: bool, filters: &[String]) -> Outcome<Report> {
    send(client, &query(DOCKERS, all, filters)?.build())
}

fn send(client: &Client, path: &str) -> Outcome<Report> {
    let report = client.send("POST", path, Body::Empty)?.json()?;
    let deleted: Vec<&str> = each(&report["VolumesDeleted"])
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Volumes:");
        deleted.iter().for_each(|name| println!("{name}"));
        println!();
    }
    // Docker's number is that of what was removed.
    let removed = report["SpaceReclaimed"].as_f64().unwrap_or(0.0);
    let in_trash = report["SpaceInTrash"].as_f64().unwrap_or(0.0);
    Ok(Report {
        reclaimed: removed - in_trash,
        in_trash,
    })
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_for_a_shell() {
        for (word, typed) in [
            ("label=shop", "label=shop"),
            ("label!=a b", "'label!=a b'"),
            ("label=it's", r"'label=it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}

//! `volume ls`: docker's list; with `--wide` or `--size` what is known beyond it.
//!
//! Where one of the volumes is backed up the plain list shows that, too: when each was backed up last and will be next, and when
//! a restore was last proven. Without any backup it is docker's to the letter.
//!
//! Sizes are those that were measured last, with their age, unless they are to be exact: measuring takes as long as the
//! volumes are large. What was never measured is, as far as that goes quickly.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, IsTerminal as _};

use clap::Args as ClapArgs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::when;
use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
use crate::render::list::{self, Row};
use crate::render::units::{human_size, natural};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Measure the volumes now
    #[arg(long)]
    exact: bool,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
    /// Also show sizes
    #[arg(short, long)]
    size: bool,
    /// Also show users, sizes, last use, backups, proofs and protection
    #[arg(short, long)]
    wide: bool,
}

const COLUMNS: list::Columns<'_> = &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
const HEADERS: list::Columns<'_> = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("SCOPE", "Scope"),
    ("MOUNTPOINT", "Mountpoint"),
    ("LABELS", "Labels"),
    ("LINKS", "Links"),
    ("SIZE", "Size"),
    ("MEASURED", "Measured"),
    ("USERS", "Users"),
    ("LAST USED", "LastUsed"),
    ("LAST BACKUP", "LastBackup"),
    ("BACKUP", "Backup"),
    ("PROVEN", "Proven"),
    ("NEXT BACKUP", "NextBackup"),
    ("PROTECTED", "Protected"),
    ("POOL", "Pool"),
    ("LIMIT", "Limit"),
];
/// Behind docker's columns, where there are backups.
const BACKED_UP: list::Columns<'_> = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("LAST BACKUP", "Backup"),
    ("NEXT BACKUP", "NextBackup"),
    ("PROVEN", "Proven"),
];
const SIZES: list::Columns<'_> = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("SIZE", "Size"),
    ("LIMIT", "Limit"),
    ("MEASURED", "Measured"),
];
const WIDE: list::Columns<'_> = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("USERS", "Users"),
    ("SIZE", "Size"),
    ("LIMIT", "Limit"),
    ("MEASURED", "Measured"),
    ("LAST USED", "LastUsed"),
    ("LAST BACKUP", "Backup"),
    ("PROVEN", "Proven"),
    ("NEXT BACKUP", "NextBackup"),
    ("PROTECTED", "Protected"),
    ("POOL", "Pool"),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<T> {
    volumes: Option<Vec<T>>,
    warnings: Option<Vec<String>>,
}

/// All that the plain list shows: of thousands of volumes nothing else is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
    driver: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    driver: String,
    #[serde(default)]
    mountpoint: String,
    #[serde(default)]
    scope: String,
    labels: Option<BTreeMap<String, String>>,
    users: Option<u64>,
    protected: Option<bool>,
    usage: Option<Usage>,
    last_used: Option<LastUsed>,
    last_backup: Option<LastBackup>,
    proof: Option<Proof>,
    #[serde(default)]
    backup_schedules: Vec<Scheduled>,
    pool: Option<String>,
    limit: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    bytes: f64,
    at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsed {
    at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LastBackup {
    at: String,
    repository: String,
    id: String,
    bytes: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Proof {
    last_proven: Option<String>,
    last_failure: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scheduled {
    name: String,
    next_run: Option<String>,
    failing: bool,
    /// The backup of the volume that the last run made, and how long that took.
    backup: Option<String>,
    seconds: Option<f64>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new("/volumes").filters(&self.filter)?.build();
        let columns = if self.wide {
            WIDE
        } else if self.size || self.exact {
            SIZES
        } else {
            COLUMNS
        };
        let asked = self.format.as_deref().is_some_and(|format| {
            [
                "Users",
                "Size",
                "Measured",
                "LastUsed",
                "LastBackup",
                "Backup",
                "Proven",
                "Protected",
                "Pool",
                "Limit",
            ]
            .iter()
            .any(|key| format.contains(key))
        });
        let format = self.format.as_deref();
        if format.is_none() && self.quiet {
            let names: String = named(client, &path)?
                .iter()
                .flat_map(|volume| [&volume.name, "\n"])
                .collect();
            print!("{names}");
            return Ok(0);
        }
        if columns == COLUMNS && matches!(format, None | Some("table")) {
            let volumes = named(client, &path)?;
            let kept = match format {
                None => backed_up(client)?,
                Some(_) => BTreeMap::new(),
            };
            if !volumes.iter().any(|volume| kept.contains_key(&volume.name)) {
                let lines = volumes
                    .into_iter()
                    .map(|volume| vec![volume.driver, volume.name]);
                list::print_table(COLUMNS, lines);
                return Ok(0);
            }
            let never = || ["never", "", "never"].map(str::to_owned);
            let lines = volumes.into_iter().map(|volume| {
                let known = kept.get(&volume.name).cloned().unwrap_or_else(never);
                [volume.driver, volume.name]
                    .into_iter()
                    .chain(known)
                    .collect()
            });
            list::print_table(BACKED_UP, lines);
            return Ok(0);
        }
        let mut volumes: Vec<Volume> = listed(client, &path)?;
        if !self.quiet && (columns != COLUMNS || asked) {
            volumes = self.details(client, volumes)?;
        }
        volumes.sort_by(|a, b| natural(&a.name, &b.name));
        let rows: Vec<Row> = volumes.iter().map(row).collect();
        list::print(&rows, columns, HEADERS, format)?;
        Ok(0)
    }

    /// What our engine knows of these volumes.
    fn details(&self, client: &Client, volumes: Vec<Volume>) -> Outcome<Vec<Volume>> {
        if self.exact {
            measure(client, &volumes)?;
        }
        let names: BTreeSet<String> = volumes.into_iter().map(|volume| volume.name).collect();
        let known = known(client, &names)?;
        if self.exact || !self.shows_sizes() {
            return Ok(known);
        }
        let missing: Vec<&str> = known
            .iter()
            .filter(|volume| volume.usage.is_none())
            .map(|volume| volume.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(known);
        }
        let Quick { measured, left } = measure_quickly(client, &missing)?;
        if left > 0 && self.format.is_none() {
            eprintln!("sizes that are not known yet, for measuring takes longer: {left} (--exact)");
        }
        if measured {
            self::known(client, &names)
        } else {
            Ok(known)
        }
    }

    fn shows_sizes(&self) -> bool {
        match &self.format {
            None => self.size || self.wide,
            Some(format) => [".Size", ".Measured"]
                .iter()
                .any(|key| format.contains(key)),
        }
    }
}

/// What our engine knows of the volumes with these names.
fn known(client: &Client, names: &BTreeSet<String>) -> Outcome<Vec<Volume>> {
    let all: Vec<Volume> = client
        .send("GET", "/orlop/v1/volumes", Body::Empty)?
        .read()?;
    Ok(all
        .into_iter()
        .filter(|volume| names.contains(&volume.name))
        .collect())
}

/// The list, as it comes.
fn listed<T: DeserializeOwned>(client: &Client, path: &str) -> Outcome<Vec<T>> {
    let listed: Listed<T> = client.send("GET", path, Body::Empty)?.read()?;
    for warning in listed.warnings.unwrap_or_default() {
        eprintln!("WARNING: {warning}");
    }
    Ok(listed.volumes.unwrap_or_default())
}

/// The last three of [`BACKED_UP`] by volume; an engine that is not ours knows nothing of it.
fn backed_up(client: &Client) -> Outcome<BTreeMap<String, [String; 3]>> {
    let path = Query::new("/orlop/v1/volumes")
        .set("backed-up", "1")
        .build();
    let volumes: Vec<Volume> = match client.send("GET", &path, Body::Empty) {
        Err(failure) if failure.is_not_found() => return Ok(BTreeMap::new()),
        answer => answer?.read()?,
    };
    let known = volumes.into_iter().map(|volume| {
        let known = [last_backup(&volume), next(&volume), proven(&volume)];
        (volume.name, known)
    });
    Ok(known.collect())
}

fn named(client: &Client, path: &str) -> Outcome<Vec<Named>> {
    let mut volumes: Vec<Named> = listed(client, path)?;
    volumes.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(volumes)
}

/// Names in one request, whose head is bounded.
pub(super) const AT_ONCE: usize = 64;

/// What came of measuring for a moment.
pub(super) struct Quick {
    pub(super) measured: bool,
    left: u64,
}

/// Has volumes measured of which no size is known, as many as a moment is enough for.
pub(super) fn measure_quickly(client: &Client, volumes: &[&str]) -> Outcome<Quick> {
    const MILLISECONDS: &str = "500";
    let mut query = Query::new("/orlop/v1/usage")
        .set("unmeasured", "1")
        .set("within", MILLISECONDS);
    // Of very many it asks for all there are.
    if volumes.len() <= AT_ONCE {
        for volume in volumes {
            query = query.set("name", volume);
        }
    }
    let mut quick = Quick {
        measured: false,
        left: 0,
    };
    let body = client.send("GET", &query.build(), Body::Empty)?.body;
    for line in BufReader::new(body).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        quick.measured |= !line["Bytes"].is_null();
        quick.left = line["Left"].as_u64().unwrap_or(quick.left);
    }
    Ok(quick)
}

/// Asks for one result after the other; interrupted, the engine stops measuring.
fn measure(client: &Client, volumes: &[Volume]) -> Outcome<()> {
    let terminal = std::io::stderr().is_terminal();
    let mut done = 0;
    for some in volumes.chunks(AT_ONCE) {
        let mut query = Query::new("/orlop/v1/usage");
        if terminal {
            query = query.set("counts", "1");
        }
        for volume in some {
            query = query.set("name", &volume.name);
        }
        let body = client.send("GET", &query.build(), Body::Empty)?.body;
        for line in BufReader::new(body).lines() {
            let line: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
            if let Some(counted) = line["Counted"].as_u64() {
                let name = line["Name"].as_str().unwrap_or_default();
                eprint!(
                    "\r\x1b[Kmeasured {done} of {}; {name}: {counted} files",
                    volumes.len()
                );
                continue;
            }
            done += 1;
            if terminal {
                eprint!("\r\x1b[Kmeasured {done} of {}", volumes.len());
            }
            if let Some(error) = line["Error"].as_str() {
                eprintln!("{}WARNING: {error}", if terminal { "\r" } else { "" });
            }
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    Ok(())
}

fn row(volume: &Volume) -> Row {
    let labels: Vec<String> = volume
        .labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let values = json!({
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "LastUsed": match (&volume.last_used, volume.users) {
            (Some(last), _) => when(&last.at),
            (None, Some(_)) => "never".to_owned(),
            (None, None) => "N/A".to_owned(),
        },
        "LastBackup": match (&volume.last_backup, volume.users) {
            (Some(last), _) => when(&last.at),
            (None, Some(_)) => "never".to_owned(),
            (None, None) => "N/A".to_owned(),
        },
        "Backup": last_backup(volume),
        "Proven": proven(volume),
        "NextBackup": next(volume),
        "BackupSchedule": volume.backup_schedules.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(","),
        "BackupSeconds": volume.backup_schedules.iter().find_map(|one| one.seconds),
        "BackupId": volume.last_backup.as_ref().map(|last| last.id.as_str()),
        "BackupRepository": volume.last_backup.as_ref().map(|last| last.repository.as_str()),
        "BackupSize": volume.last_backup.as_ref().map(|last| human_size(last.bytes)),
        "Limit": volume.limit.map_or("N/A".to_owned(), human_size),
        "Links": "N/A",
        "Measured": volume.usage.as_ref().map_or("N/A".to_owned(), |usage| when(&usage.at)),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Pool": volume.pool.as_deref().unwrap_or("N/A"),
        "Protected": volume.protected.map_or("N/A".to_owned(), |protected| protected.to_string()),
        "Scope": volume.scope,
        "Size": volume.usage.as_ref().map_or("N/A".to_owned(), |usage| human_size(usage.bytes)),
        "Status": "N/A",
        "Users": volume.users.map_or("N/A".to_owned(), |users| users.to_string()),
    });
    values.as_object().cloned().unwrap_or_default()
}

/// When the newest backup was made, how large it is and, where a schedule made it, how long that took.
fn last_backup(volume: &Volume) -> String {
    let Some(last) = &volume.last_backup else {
        return volume.users.map_or("N/A", |_| "never").to_owned();
    };
    let by_schedule = volume
        .backup_schedules
        .iter()
        .find(|schedule| schedule.backup.as_ref() == Some(&last.id));
    let took = by_schedule.and_then(|schedule| schedule.seconds);
    let took = took.map_or_else(String::new, |seconds| format!(" in {seconds:.1}s"));
    format!("{}, {}{took}", when(&last.at), human_size(last.bytes))
}

/// When a restore was last proven. What failed since is more than when it last did not.
fn proven(volume: &Volume) -> String {
    match (&volume.proof, volume.users) {
        (
            Some(Proof {
                last_failure: Some(_),
                ..
            }),
            _,
        ) => "FAILED".to_owned(),
        (
            Some(Proof {
                last_proven: Some(at),
                ..
            }),
            _,
        ) => when(at),
        (_, Some(_)) => "never".to_owned(),
        (_, None) => "N/A".to_owned(),
    }
}

/// When the next scheduled backup begins, and whether the last one failed.
fn next(volume: &Volume) -> String {
    let schedules = &volume.backup_schedules;
    let soonest = schedules
        .iter()
        .filter_map(|one| one.next_run.as_deref())
        .min();
    let text = match (soonest, schedules.is_empty()) {
        (Some(time), _) => when(time),
        (None, true) => String::new(),
        (None, false) => "paused".to_owned(),
    };
    if schedules.iter().any(|one| one.failing) {
        format!("{text} (FAILED)").trim_start().to_owned()
    } else {
        text
    }
}

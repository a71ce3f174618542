//! `volume audit`: what does not fit together, each with what to do about it.
//!
//! It looks and changes nothing. A repair ([`Engine::audit_fix`]) does only what can lose nothing: it removes links that
//! lead nowhere, and directories in which nobody has ever put anything.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use store::VolumeId;
use volumes::{ANONYMOUS_LABEL, VolumeError};

use super::Creator;
use super::reseed::Seed;
use super::users::parse;
use crate::containers::ContainerError;
use crate::engine::Engine;

mod containers;
mod schedules;

/// How soon an end in the trash is worth a word.
const SOON: i64 = 2 * 60 * 60;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Data is missing, or can be lost or damaged.
    High,
    /// Something is not as somebody meant it.
    Medium,
    /// Space could be had, or is about to be.
    Low,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// A word for programs: `orphan-data`, `missing-data` …
    pub kind: &'static str,
    pub weight: Weight,
    /// Volume, container or path.
    pub subject: String,
    pub detail: String,
    /// What to do.
    pub advice: String,
    /// A repair does it by itself.
    pub fixable: bool,
}

/// All findings, the weightiest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Audit {
    pub findings: Vec<Finding>,
    /// How many volumes were looked at.
    pub volumes: usize,
}

type Identity = (VolumeId, String, store::VolumeState);

struct Look<'a> {
    engine: &'a Engine,
    findings: Vec<Finding>,
}

impl Engine {
    /// Looks everywhere; `fast` leaves out what has to ask the disk for each volume or container.
    ///
    /// # Errors
    /// When the database or the state directory cannot be read.
    pub fn audit_volumes(&self, fast: bool) -> Result<Audit, ContainerError> {
        let mut look = Look {
            engine: self,
            findings: Vec::new(),
        };
        let volumes = look.places()?;
        look.volumes()?;
        look.containers(fast)?;
        look.trash()?;
        look.schedules()?;
        look.unfinished()?;
        let mut findings = look.findings;
        findings
            .sort_by(|a, b| (a.weight, a.kind, &a.subject).cmp(&(b.weight, b.kind, &b.subject)));
        Ok(Audit { findings, volumes })
    }

    /// Repairs what can be repaired without losing anything; what was repaired.
    ///
    /// # Errors
    /// As [`Engine::audit_volumes`]. What resists stays and is found again.
    pub fn audit_fix(&self) -> Result<Vec<Finding>, ContainerError> {
        let audit = self.audit_volumes(true)?;
        let repair = |finding: &Finding| {
            let path = Path::new(&finding.subject);
            let removed = match finding.kind {
                "dangling-link" => sys::durable::remove_file(path).map(drop),
                // Removes directories only, and only empty ones: what came in since stays.
                "empty-orphan" => self.remove_empty(path),
                _ => Ok(()),
            };
            removed.is_ok()
        };
        Ok(audit
            .findings
            .into_iter()
            .filter(|finding| finding.fixable)
            .filter(repair)
            .collect())
    }

    fn remove_empty(&self, directory: &Path) -> std::io::Result<()> {
        let id = directory
            .file_name()
            .and_then(|name| VolumeId::parse(name.to_str()?))
            .ok_or(std::io::ErrorKind::InvalidInput)?;
        sys::durable::remove_dir(&self.paths.volume_content(&id))?;
        sys::durable::remove_dir(directory)?;
        let entry = self.paths.volume_entry(&id);
        if entry != directory {
            sys::durable::remove_file(&entry)?;
        }
        Ok(())
    }
}

impl Look<'_> {
    fn found(
        &mut self,
        kind: &'static str,
        weight: Weight,
        subject: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.findings.push(Finding {
            kind,
            weight,
            subject: subject.into(),
            detail: detail.into(),
            advice: advice.into(),
            fixable: matches!(kind, "dangling-link" | "empty-orphan"),
        });
    }

    /// `data/` and `volumes/` against the records; how many volumes there are.
    fn places(&mut self) -> Result<usize, ContainerError> {
        let paths = &self.engine.paths;
        // The directories first: a volume that is made meanwhile has its record before them.
        let (directories, links) = (names(&paths.data())?, names(&paths.volumes())?);
        let (rows, trash, ops) = self.engine.store.read(|tx| {
            Ok::<_, store::StoreError>((tx.volume_identities()?, tx.trash()?, tx.ops()?))
        })?;
        self.directories(&directories, &rows, &trash, &ops)?;
        self.links(&links, &rows);
        let ready = |state| state == store::VolumeState::Ready;
        Ok(rows.iter().filter(|(_, _, state)| ready(*state)).count())
    }

    fn directories(
        &mut self,
        found: &[String],
        rows: &[Identity],
        trash: &[store::TrashRow],
        ops: &[store::OpRow],
    ) -> Result<(), ContainerError> {
        let paths = &self.engine.paths;
        let known: HashSet<&str> = rows
            .iter()
            .map(|(id, _, _)| id)
            .chain(trash.iter().map(|row| &row.volume.id))
            .map(VolumeId::as_str)
            .collect();
        for name in found.iter().filter(|name| !known.contains(name.as_str())) {
            // What an operation is deleting has no record any more.
            if ops.iter().any(|op| op.params.contains(name.as_str())) {
                continue;
            }
            let id = VolumeId::parse(name);
            let shown = id.as_ref().map_or_else(
                || format!("{}/{name}", paths.data().display()),
                |id| paths.volume(id).to_string_lossy().into_owned(),
            );
            if id
                .as_ref()
                .is_some_and(|id| is_empty(&paths.volume(id), &paths.volume_content(id)))
            {
                self.found(
                    "empty-orphan",
                    Weight::Low,
                    shown,
                    "no record owns this directory, and it holds nothing",
                    "remove it: orlop volume audit --fix",
                );
            } else {
                self.found(
                    "orphan-data",
                    Weight::High,
                    &shown,
                    "no record owns this directory",
                    match id {
                        Some(id) => {
                            format!("make it a volume again: orlop volume adopt {id} --name NAME")
                        }
                        None => {
                            "look what is in it, and move it out of the state directory".to_owned()
                        }
                    },
                );
            }
        }
        // The state directory is there.
        for pool in self.engine.volumes.made_pools()? {
            if let Some(why) = pool.down {
                self.found(
                    "missing-pool",
                    Weight::High,
                    &pool.name,
                    format!("{why}; unavailable: [{}]", pool.volumes.join(", ")),
                    "bring its device or directory back; nothing is lost, and the next use of it tries again",
                );
            }
        }
        let found: HashSet<&str> = found.iter().map(String::as_str).collect();
        for (id, name, state) in rows {
            if *state == store::VolumeState::Ready && !found.contains(id.as_str()) {
                self.found(
                    "missing-data",
                    Weight::High,
                    name,
                    format!("its directory {} is missing", paths.volume(id).display()),
                    format!(
                        "put the directory back from a backup, or give the volume up: orlop volume rm {name}"
                    ),
                );
            }
        }
        Ok(())
    }

    fn links(&mut self, found: &[String], rows: &[Identity]) {
        let paths = &self.engine.paths;
        let known: HashSet<&str> = rows.iter().map(|(_, name, _)| name.as_str()).collect();
        for name in found.iter().filter(|name| !known.contains(name.as_str())) {
            let path = paths.volume_link(name);
            let shown = path.to_string_lossy().into_owned();
            if path.is_symlink() && !path.exists() {
                self.found(
                    "dangling-link",
                    Weight::Low,
                    shown,
                    "it leads nowhere",
                    "remove it: orlop volume audit --fix",
                );
            } else {
                self.found(
                    "foreign-entry",
                    Weight::Medium,
                    shown,
                    "it belongs to no volume",
                    "move it out of the state directory, or import it into a volume",
                );
            }
        }
    }

    /// Anonymous volumes that nobody uses, and those whose image has moved on.
    fn volumes(&mut self) -> Result<(), ContainerError> {
        let (rows, used) = self.engine.store.read(|tx| {
            let rows = tx.volumes_labelled_or_seeded(ANONYMOUS_LABEL)?;
            let rows = rows.into_iter().map(|row| {
                let notes = tx.volume_notes(&row.id)?;
                Ok::<_, store::StoreError>((row, notes))
            });
            Ok::<_, store::StoreError>((rows.collect::<Result<Vec<_>, _>>()?, tx.lease_counts()?))
        })?;
        let used: HashSet<&str> = used.iter().map(|(name, _)| name.as_str()).collect();
        for (volume, notes) in &rows {
            self.seed(&volume.name, notes.seeded_by.as_deref())?;
            let anonymous = volume
                .labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(ANONYMOUS_LABEL));
            if !anonymous || used.contains(volume.name.as_str()) || notes.protected {
                continue;
            }
            let creator: Option<Creator> = notes.created_by.as_deref().and_then(parse);
            let detail = match creator {
                Some(creator) => format!(
                    "made for {} by image {} at {}, and used by nobody",
                    creator.name, creator.image, creator.destination
                ),
                None => "made without a name, and used by nobody".to_owned(),
            };
            self.found(
                "unused-anonymous",
                Weight::Low,
                &volume.name,
                detail,
                "orlop volume prune removes it; a name (-v NAME:PATH) or --image-volumes tmpfs avoids the next one",
            );
        }
        Ok(())
    }

    /// Whether what an image put into a volume is that of the image that is used now.
    fn seed(&mut self, volume: &str, seeded_by: Option<&str>) -> Result<(), ContainerError> {
        let Some(seed) = seeded_by.and_then(parse::<Seed>) else {
            return Ok(());
        };
        let drifts = match self.engine.containers.drift(volume, &seed) {
            // Removed, or renamed, since it was listed.
            Err(ContainerError::Volume(VolumeError::NotFound(_))) => return Ok(()),
            other => other?,
        };
        for drift in drifts {
            let short = |id: &str| {
                id.trim_start_matches("sha256:")
                    .chars()
                    .take(12)
                    .collect::<String>()
            };
            self.found(
                "stale-seed",
                Weight::Low,
                volume,
                format!(
                    "filled from {} ({}), container {} now uses {} ({})",
                    seed.image,
                    short(&seed.image_id),
                    drift.name,
                    drift.image,
                    short(&drift.image_id)
                ),
                format!(
                    "look: orlop volume reseed {volume} --from {} --diff; then --merge",
                    drift.image
                ),
            );
        }
        Ok(())
    }

    fn trash(&mut self) -> Result<(), ContainerError> {
        let now = Timestamp::now();
        for trashed in self.engine.volumes.trash()? {
            let left = trashed
                .expires_at
                .parse::<Timestamp>()
                .map_or(i64::MAX, |end| end.as_second() - now.as_second());
            if left < SOON {
                self.found(
                    "trash-ends",
                    Weight::Low,
                    &trashed.name,
                    format!("it leaves the trash in {} minutes", (left / 60).max(0)),
                    format!("orlop volume undelete {} keeps it", trashed.name),
                );
            }
        }
        Ok(())
    }

    fn unfinished(&mut self) -> Result<(), ContainerError> {
        for op in store::journal::unfinished(&self.engine.store)? {
            let left = self.engine.paths.trash(&op.id);
            let place = if left.exists() {
                format!(", and what it deletes is in {}", left.display())
            } else {
                String::new()
            };
            self.found(
                "unfinished",
                Weight::Medium,
                op.object,
                format!(
                    "{} of {} was stopped by an error{place}",
                    op.kind, op.started
                ),
                "remove what it complained of; the next start of the engine finishes it",
            );
        }
        Ok(())
    }
}

/// Whether nothing but an empty `_data` is in it.
fn is_empty(directory: &Path, content: &Path) -> bool {
    let entries = |path: &Path| -> Option<Vec<std::path::PathBuf>> {
        let entries = fs::read_dir(path).ok()?;
        entries.map(|entry| Some(entry.ok()?.path())).collect()
    };
    let Some(inside) = entries(directory) else {
        return false;
    };
    match inside.as_slice() {
        [] => true,
        [only] if only == content && !content.is_symlink() => {
            entries(content).is_some_and(|inside| inside.is_empty())
        }
        _ => false,
    }
}

fn names(directory: &Path) -> Result<Vec<String>, ContainerError> {
    fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        })
        .map_err(|source| ContainerError::Io {
            action: format!("cannot list {}", directory.display()),
            source,
        })
}

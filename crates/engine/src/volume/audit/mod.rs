//! `volume audit`: what does not fit together, each with what to do about it.
//!
//! It looks and changes nothing. A repair ([`Engine::audit_fix`]) does only what can lose nothing: it makes links again
//! that are missing, removes those that lead nowhere, and directories in which nobody has ever put anything.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use store::VolumeId;
use volumes::{ANONYMOUS_LABEL, VolumeError};

use super::Creator;
use super::reseed::Seed;
use super::users::{last_use, parse};
use crate::containers::ContainerError;
use crate::engine::Engine;

mod containers;
mod places;
mod power;
mod records;
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

impl Weight {
    /// # Errors
    /// A sentence that names the possible words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "high" => Ok(Self::High),
            "medium" => Ok(Self::Medium),
            "low" => Ok(Self::Low),
            other => Err(format!(
                "invalid level '{other}': must be one of high, medium, low"
            )),
        }
    }
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

/// Where to look, and what is worth telling.
#[derive(Debug, Clone, Copy)]
pub struct AuditRequest {
    /// Leaves out what has to ask the disk for each volume or container, and what is no fault but space to be had.
    pub fast: bool,
    /// The lightest weight that is told.
    pub level: Weight,
}

struct Look<'a> {
    engine: &'a Engine,
    findings: Vec<Finding>,
    /// Where the pools are that are up.
    pools: Vec<PathBuf>,
}

impl Engine {
    /// Looks where the request says.
    ///
    /// # Errors
    /// When the database or the state directory cannot be read.
    pub fn audit_volumes(&self, request: AuditRequest) -> Result<Audit, ContainerError> {
        let fast = request.fast;
        let mut look = Look {
            engine: self,
            findings: Vec::new(),
            pools: Vec::new(),
        };
        let volumes = look.places(fast)?;
        look.seeds()?;
        look.unused(fast)?;
        look.containers(fast)?;
        look.trash()?;
        look.schedules()?;
        look.unfinished()?;
        let mut findings = look.findings;
        findings.retain(|finding| finding.weight <= request.level);
        findings
            .sort_by(|a, b| (a.weight, a.kind, &a.subject).cmp(&(b.weight, b.kind, &b.subject)));
        Ok(Audit { findings, volumes })
    }

    /// Repairs what can be repaired without losing anything; what was repaired.
    ///
    /// # Errors
    /// As [`Engine::audit_volumes`]. What resists stays and is found again.
    pub fn audit_fix(&self, request: AuditRequest) -> Result<Vec<Finding>, ContainerError> {
        let audit = self.audit_volumes(request)?;
        let repair = |finding: &Finding| {
            let path = Path::new(&finding.subject);
            match finding.kind {
                "missing-link" => self.volumes.make_link(&finding.subject).is_ok(),
                "dangling-link" => self.volumes.remove_dangling(path).is_ok(),
                // Removes directories only, and only empty ones: what came in since stays.
                "empty-orphan" => self.remove_empty(path).is_ok(),
                _ => false,
            }
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
        self.findings
            .push(finding(kind, weight, subject, detail, advice));
    }

    /// Volumes whose image has moved on.
    fn seeds(&mut self) -> Result<(), ContainerError> {
        let seeded = self.engine.store.read(|tx| {
            let rows = tx.volumes_seeded()?.into_iter().map(|row| {
                let notes = tx.volume_notes(&row.id)?;
                Ok::<_, store::StoreError>((row.name, notes.seeded_by))
            });
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        for (name, seeded_by) in seeded {
            self.seed(&name, seeded_by.as_deref())?;
        }
        Ok(())
    }

    /// Volumes that nobody uses; with names only if it need not be quick: there may be thousands, and they may be meant.
    fn unused(&mut self, fast: bool) -> Result<(), ContainerError> {
        for (volume, notes) in records::unused(&self.engine.store, fast)? {
            if notes.protected {
                continue;
            }
            let creator: Option<Creator> = notes.created_by.as_deref().and_then(parse);
            let made_for = creator.map(|creator| {
                format!(
                    "made for {} by image {} at {}",
                    creator.name, creator.image, creator.destination
                )
            });
            if volume.has_label(ANONYMOUS_LABEL) {
                let made = made_for.unwrap_or_else(|| "made without a name".to_owned());
                self.found(
                    "unused-anonymous",
                    Weight::Low,
                    &volume.name,
                    format!("{made}, and used by nobody"),
                    "orlop volume prune removes it; a name (-v NAME:PATH) or --image-volumes tmpfs avoids the next one",
                );
                continue;
            }
            let made = made_for.unwrap_or_else(|| "made".to_owned());
            let used = match last_use(notes.used_by.as_deref(), notes.used_at) {
                Some(last) => format!(
                    "used last by {} ({}) until {}",
                    last.name, last.image, last.at
                ),
                None => "never used".to_owned(),
            };
            self.found(
                "unused-volume",
                Weight::Low,
                &volume.name,
                format!("{made} on {}, {used}, and used by nobody now", volume.created_at),
                format!(
                    "orlop volume rm {name} removes it; orlop volume protect {name} keeps it, and nothing more is said of it",
                    name = volume.name
                ),
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

fn finding(
    kind: &'static str,
    weight: Weight,
    subject: impl Into<String>,
    detail: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding {
        kind,
        weight,
        subject: subject.into(),
        detail: detail.into(),
        advice: advice.into(),
        fixable: matches!(kind, "dangling-link" | "empty-orphan" | "missing-link"),
    }
}

//! `backup`: volumes, all as they were at one instant, into a repository.
//!
//! Steps:
//! 1. the turn of these volumes at the repository is waited for, and the repository is opened: what keeps it from being
//!    reached holds up nobody who writes
//! 2. snapshots of all volumes at one instant, on a rung of the ladder of [`crate::snapshot`]; writers go on
//! 3. each snapshot is leased and saved; what becomes a backup is listed and noted at once
//! 4. leases and snapshots go
//!
//! 4 happens whatever 2 and 3 say; after a crash it is the next start that does it. What was uploaded and did not become a
//! backup is found again by the next run, which goes on from there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use backup::{Compare, Parent, Repository, Save};
use jiff::Timestamp;
use store::{RepositoryRow, VolumeBackupRow};
use volumes::{Snapshot, Volume};

use super::manifest::{CONTAINERS, VOLUME, text};
use super::reference::path_of;
use super::repositories::host_name;
use super::turn::Turn;
use super::watch::Watching;
use super::{BackupError, Backups, hex};
use crate::cancel::Cancel;
use crate::progress::Progress;
use crate::snapshot::{Around, SnapshotRequest};

/// Why its snapshots are made. Nobody else's have this reason.
const REASON: &str = "backup";
/// How a holder of its leases begins. No id of a container does.
const HOLDER: &str = "backup-";
/// The tag of every backup that an engine made.
pub(super) const TAG: &str = "orlop";
/// What the record says that made it.
const PROGRAM: &str = concat!("orlop ", env!("CARGO_PKG_VERSION"));
/// How the tag begins that backups of one call share.
pub(super) const GROUP: &str = "group=";

/// What shall be backed up.
#[derive(Debug, Clone, Default)]
pub struct BackupRequest {
    pub volumes: Vec<String>,
    /// Every volume.
    pub all: bool,
    /// And those that have all of these, `key` or `key=value`.
    pub labels: Vec<String>,
    /// Name or location of a repository; `None`: the default one.
    pub to: Option<String>,
    pub around: Around,
    pub tags: Vec<String>,
    /// `None`: this host's name.
    pub host: Option<String>,
}

/// Backups that were made.
#[derive(Debug, Clone)]
pub struct BackedUp {
    pub repository: String,
    /// Tells the backups of this call from every other one.
    pub group: String,
    pub backups: Vec<SavedVolume>,
    /// For how long containers were frozen.
    pub frozen: Duration,
    pub warnings: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct SavedVolume {
    pub volume: String,
    pub id: String,
    /// RFC 3339: the instant that it shows.
    pub time: String,
    pub files: u64,
    pub bytes: u64,
    /// Bytes of files that were not in the repository before.
    pub new_bytes: u64,
    /// What the repository has grown by.
    pub stored_bytes: u64,
    pub took: Duration,
}

/// What is the same for every volume of a call.
struct Run<'a> {
    row: &'a RepositoryRow,
    opened: &'a Repository,
    request: &'a BackupRequest,
    group: String,
    names: Vec<String>,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// A tree to be saved.
struct Source<'a> {
    volume: Volume,
    tree: &'a Path,
    time: Timestamp,
    consistency: &'a str,
    /// When a file is taken to be what it was in the backup before.
    compare: Compare,
}

impl Run<'_> {
    fn holder(&self) -> String {
        format!("{HOLDER}{}", self.group)
    }
}

impl Backups {
    /// Backs volumes up.
    ///
    /// # Errors
    /// [`BackupError::Save`] with the volume, repository and cause; before anything was touched those of naming volumes and
    /// the repository. Backups of other volumes of the call that were complete then stay.
    pub fn backup(
        &self,
        request: &BackupRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<BackedUp, BackupError> {
        let names = self.chosen(request)?;
        let row = self.pick(request.to.as_deref())?;
        let (snapshots, live) = self.divided(&names, &request.around)?;
        let _turn = self.turn(&row, &names, progress, cancel)?;
        let lock = self.lock_of(&row);
        let _shared = lock
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let opened = self.open_row(&row)?;
        let group: String = store::ContainerId::random()
            .as_str()
            .chars()
            .take(16)
            .collect();
        let run = Run {
            row: &row,
            opened: &opened,
            request,
            group,
            names,
            progress,
            cancel,
        };
        let mut done = BackedUp {
            repository: row.name.clone(),
            group: run.group.clone(),
            backups: Vec::new(),
            frozen: Duration::ZERO,
            warnings: Vec::new(),
        };
        let mut taken = Vec::new();
        let saved = self.save_all(&run, snapshots, &live, &mut taken, &mut done);
        let tidied = self.tidy(&run.holder(), &taken);
        saved?;
        done.warnings.extend(tidied);
        Ok(done)
    }

    /// Two backups of a volume to one repository would store what is new in it twice, and either might be the parent of the
    /// other.
    fn turn(
        &self,
        row: &RepositoryRow,
        names: &[String],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Turn, BackupError> {
        let mut keys = Vec::new();
        for name in names {
            let volume = self.volumes.get(name)?;
            // A volume that is renamed meanwhile is the same; one whose bytes are elsewhere has its name alone.
            keys.push(volume.id.map_or(volume.name, |id| id.as_str().to_owned()));
        }
        self.turns
            .take(&row.id, &keys, cancel, |which| {
                progress.status(&names[which], "Waiting for another backup");
            })
            .ok_or(BackupError::Cancelled)
    }

    /// Names of the volumes that a request means, in order.
    fn chosen(&self, request: &BackupRequest) -> Result<Vec<String>, BackupError> {
        let mut names = request.volumes.clone();
        if request.all || !request.labels.is_empty() {
            let found = self.volumes.list()?;
            let fitting = found.into_iter().filter(|volume| {
                let here = !self.volumes.is_elsewhere(&volume.driver);
                (request.labels.is_empty() && here)
                    || (!request.labels.is_empty()
                        && request.labels.iter().all(|label| volume.has_label(label)))
            });
            names.extend(fitting.map(|volume| volume.name));
            if names.is_empty() && !request.labels.is_empty() {
                return Err(BackupError::NoneLabelled(request.labels.join(", ")));
            }
        }
        if names.is_empty() {
            return Err(BackupError::Nothing);
        }
        names.sort();
        names.dedup();
        for name in &names {
            self.volumes.get(name)?;
        }
        Ok(names)
    }

    /// Those of which there can be snapshots, and those that are read as they are.
    fn divided(
        &self,
        names: &[String],
        around: &Around,
    ) -> Result<(Vec<String>, Vec<String>), BackupError> {
        let (mut snapshots, mut live) = (Vec::new(), Vec::new());
        for name in names {
            if self.volumes.can_have_snapshots(name)? {
                snapshots.push(name.clone());
            } else if around.consistency == "none" {
                live.push(name.clone());
            } else {
                return Err(BackupError::NoSnapshot(name.clone()));
            }
        }
        Ok((snapshots, live))
    }

    fn save_all(
        &self,
        run: &Run<'_>,
        volumes: Vec<String>,
        live: &[String],
        taken: &mut Vec<Snapshot>,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        if !volumes.is_empty() {
            let made = self.snapshots.create(SnapshotRequest {
                volumes,
                reason: REASON.to_owned(),
                around: run.request.around.clone(),
                ..SnapshotRequest::default()
            })?;
            taken.clone_from(&made.snapshots);
            sys::fault::step("volume-backup:snapshot");
            done.frozen = made.frozen;
            done.warnings = made.warnings;
            for snapshot in &made.snapshots {
                self.volumes.lease_snapshot(
                    &snapshot.volume,
                    &snapshot.name,
                    &run.holder(),
                    REASON,
                )?;
            }
            sys::fault::step("volume-backup:leased");
            for snapshot in &made.snapshots {
                let volume = self.volumes.get(&snapshot.volume)?;
                let Some(id) = &volume.id else { continue };
                let tree = self.volumes.snapshot_tree(id, &snapshot.id)?;
                let source = Source {
                    tree: &tree,
                    time: snapshot
                        .created_at
                        .parse()
                        .unwrap_or_else(|_| Timestamp::now()),
                    consistency: &snapshot.consistency,
                    // A snapshot is another copy each time.
                    compare: Compare::Modified,
                    volume,
                };
                done.backups.push(self.save_one(run, &source)?);
            }
        }
        for name in live {
            done.warnings.push(format!(
                "volume {name} can have no snapshot and was read as it was: what was written meanwhile may be there in part"
            ));
            let tree = self.volumes.mount(name, &run.holder())?;
            let saved = self.volumes.get(name).map_err(BackupError::from);
            let saved = saved.and_then(|volume| {
                self.save_one(
                    run,
                    &Source {
                        volume,
                        tree: &tree,
                        time: Timestamp::now(),
                        consistency: "none",
                        compare: Compare::Changed,
                    },
                )
            });
            let unmounted = self.volumes.unmount(name, &run.holder());
            done.backups.push(saved?);
            unmounted?;
        }
        Ok(())
    }

    fn save_one(&self, run: &Run<'_>, source: &Source<'_>) -> Result<SavedVolume, BackupError> {
        let name = source.volume.name.as_str();
        if run.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let began = Instant::now();
        let time = source.time.to_string();
        let about = self.volume_manifest(&source.volume, source.consistency, &time, &run.names)?;
        let containers = self.containers_manifest(name)?;
        let mut tags = run.request.tags.clone();
        tags.extend([TAG.to_owned(), format!("{GROUP}{}", run.group)]);
        let (about, containers) = (text(&about), text(&containers));
        let host = run.request.host.clone().unwrap_or_else(host_name);
        let save = Save {
            as_path: &path_of(name),
            host: &host,
            tags: &tags,
            description: None,
            time: Some(source.time),
            extra: &[(VOLUME, &about), (CONTAINERS, &containers)],
            parent: Parent::Newest,
            compare: source.compare,
            program: PROGRAM,
        };
        let watch = Watching::new(name, "Backing up", run.progress, run.cancel);
        let saved = run
            .opened
            .save(source.tree, &save, &watch)
            .map_err(|source| match source {
                backup::BackupError::Stopped => BackupError::Cancelled,
                source => BackupError::Save {
                    volume: name.to_owned(),
                    repository: run.row.name.clone(),
                    source: Box::new(source),
                },
            })?;
        sys::fault::step("volume-backup:saved");
        let id = hex(saved.id);
        self.note(run.row, &source.volume, &id, &time, &saved)?;
        sys::fault::step("volume-backup:noted");
        self.tell(
            "backup",
            name,
            &[
                ("repository", &run.row.name),
                ("backup", &id),
                ("bytes", &saved.bytes.to_string()),
                ("stored", &saved.stored_bytes.to_string()),
            ],
        );
        run.progress.status(name, "Backed up");
        Ok(SavedVolume {
            volume: name.to_owned(),
            id,
            time,
            files: saved.files,
            bytes: saved.bytes,
            new_bytes: saved.new_bytes,
            stored_bytes: saved.stored_bytes,
            took: began.elapsed(),
        })
    }

    fn note(
        &self,
        row: &RepositoryRow,
        volume: &Volume,
        id: &str,
        time: &str,
        saved: &backup::Saved,
    ) -> Result<(), BackupError> {
        let Some(volume) = &volume.id else {
            return Ok(());
        };
        self.store.write(|tx| {
            tx.set_volume_backup(&VolumeBackupRow {
                volume: volume.clone(),
                repository: row.id.clone(),
                repository_name: String::new(),
                backup: id.to_owned(),
                at: time.to_owned(),
                bytes: saved.bytes,
                stored_bytes: saved.stored_bytes,
            })?;
            let detail = format!("{id:.8} in {}", row.name);
            Ok(tx.insert_volume_event(volume, &Timestamp::now().to_string(), "backup", &detail)?)
        })
    }

    /// Ends the leases of a holder and removes the snapshots that were made for it; a sentence for each that stays.
    fn tidy(&self, holder: &str, taken: &[Snapshot]) -> Vec<String> {
        let mut sentences = Vec::new();
        let released = self
            .volumes
            .release_snapshots(holder)
            .and_then(|()| Ok(self.volumes.release(holder)?));
        if let Err(error) = released {
            sentences.push(format!("a snapshot stays leased: {error}"));
        }
        sentences.extend(
            taken
                .iter()
                .filter_map(|snapshot| self.drop_snapshot(snapshot)),
        );
        sys::fault::step("volume-backup:tidied");
        sentences
    }

    /// Removes a snapshot that was made for a backup; a sentence if it stays.
    fn drop_snapshot(&self, snapshot: &Snapshot) -> Option<String> {
        let removed = self
            .volumes
            .remove_snapshot(&snapshot.volume, &snapshot.name);
        match removed {
            Err(error) if error.kind() != store::ErrorKind::NotFound => Some(format!(
                "snapshot {}@{} stays: {error}",
                snapshot.volume, snapshot.name
            )),
            _ => None,
        }
    }

    /// What backups of an engine that is gone have left.
    pub(super) fn recover_saves(&self) -> Result<Vec<String>, BackupError> {
        let left: BTreeSet<String> = self
            .store
            .read(|tx| tx.leases())?
            .into_iter()
            .map(|lease| lease.holder)
            .filter(|holder| holder.starts_with(HOLDER))
            .collect();
        for holder in &left {
            self.volumes.release_snapshots(holder)?;
            self.volumes.release(holder)?;
        }
        let taken = self.volumes.snapshots(None)?;
        Ok(taken
            .iter()
            .filter(|snapshot| snapshot.reason == REASON)
            .map(|snapshot| {
                self.drop_snapshot(snapshot).unwrap_or_else(|| {
                    format!(
                        "the snapshot of an unfinished backup of volume {} was removed",
                        snapshot.volume
                    )
                })
            })
            .collect())
    }
}

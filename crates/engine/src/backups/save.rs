//! `backup`: volumes, all as they were at one instant, into a repository.
//!
//! Steps:
//! 1. the turn of these volumes at the repository is waited for, and the repository is opened: what keeps it from being
//!    reached holds up nobody who writes
//! 2. snapshots of all volumes at one instant, on a rung of the ladder of [`crate::snapshot`]; writers go on
//! 3. each snapshot is leased and saved; what becomes a backup is listed and noted at once
//! 4. leases and snapshots go
//!
//! Volumes that nobody writes to are leased and read where they are ([`super::in_place`]). When one turns out to have been touched
//! meanwhile, all is done again, with snapshots.
//!
//! 4 happens whatever 2 and 3 say; after a crash it is the next start that does it. What was uploaded and did not become a
//! backup is found again by the next run, which goes on from there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use backup::{Compare, Parent, Repository, Save};
use jiff::Timestamp;
use store::{RepositoryRow, VolumeBackupRow};
use sys::catch_up::Began;
use volumes::driver::Sharing;
use volumes::{Snapshot, Volume};

use super::in_place::is_disturbed;
use super::manifest::{CONTAINERS, VOLUME, text};
use super::reference::path_of;
use super::repositories::host_name;
use super::watch::Watching;
use super::{BackupError, Backups, hex, shared};
use crate::cancel::Cancel;
use crate::claims::Claimed;
use crate::progress::Progress;
use crate::snapshot::{Around, SnapshotRequest, after};

/// Why its snapshots are made. Nobody else's have this reason.
pub(super) const REASON: &str = "backup";
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
    /// What the repository was found to have lost; none of it is in this backup.
    pub lost: Vec<String>,
}

/// What is the same for every volume of a call.
pub(super) struct Run<'a> {
    row: &'a RepositoryRow,
    opened: &'a Repository,
    pub(super) request: &'a BackupRequest,
    group: String,
    names: &'a [String],
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// How the volumes of a call are read.
struct Ways {
    /// From snapshots.
    snapshots: Vec<String>,
    /// Where they are, as nobody writes to them.
    in_place: Vec<String>,
    /// Where they are, whatever anybody does.
    live: Vec<String>,
}

/// A snapshot that was made for a call, and the volume of which it is one, whatever that is called by now.
struct Taken {
    volume: Volume,
    snapshot: Snapshot,
}

/// A tree to be saved.
pub(super) struct Source<'a> {
    pub(super) volume: Volume,
    pub(super) tree: &'a Path,
    pub(super) time: Timestamp,
    pub(super) consistency: &'a str,
    /// When a file is taken to be what it was in the backup before.
    pub(super) compare: Compare,
    /// Since when nobody may have touched it.
    pub(super) untouched_since: Option<&'a Began>,
}

impl Run<'_> {
    pub(super) fn holder(&self) -> String {
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
        let mut ways = self.divided(&names, &request.around)?;
        let _turn = self.turn(&row, &names, progress, cancel)?;
        let lock = self.lock_of(&row);
        let _shared = shared(&lock);
        let opened = self.open_row(&row)?;
        let run = || Run {
            row: &row,
            opened: &opened,
            request,
            group: store::ContainerId::random()
                .as_str()
                .chars()
                .take(16)
                .collect(),
            names: &names,
            progress,
            cancel,
        };
        match self.attempt(&run(), &ways) {
            Err(BackupError::Save { source, volume, .. })
                if ways.in_place.contains(&volume) && is_disturbed(&source) =>
            {
                tracing::info!(volume, %source, "backing up again, from snapshots");
                ways.snapshots.append(&mut ways.in_place);
                ways.snapshots.sort();
                self.attempt(&run(), &ways)
            }
            other => other,
        }
    }

    fn attempt(&self, run: &Run<'_>, ways: &Ways) -> Result<BackedUp, BackupError> {
        let mut done = BackedUp {
            repository: run.row.name.clone(),
            group: run.group.clone(),
            backups: Vec::new(),
            frozen: Duration::ZERO,
            warnings: Vec::new(),
        };
        let mut taken = Vec::new();
        let saved = self.save_all(run, ways, &mut taken, &mut done);
        let tidied = self.tidy(&run.holder(), &taken);
        saved?;
        done.warnings.extend(tidied);
        // Each backup of the call finds the same.
        let lost = done.backups.first().and_then(|first| {
            let (first, more) = first.lost.split_first()?;
            Some(loss(&run.row.name, first, more.len()))
        });
        done.warnings.extend(lost);
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
    ) -> Result<Claimed<(String, String)>, BackupError> {
        let mut keys = Vec::new();
        for name in names {
            let volume = self.volumes.get(name)?;
            // A volume that is renamed meanwhile is the same; one whose bytes are elsewhere has its name alone.
            let volume = volume.id.map_or(volume.name, |id| id.as_str().to_owned());
            keys.push((row.id.as_str().to_owned(), volume));
        }
        self.turns
            .claim_unless(cancel, keys, |which| {
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

    fn divided(&self, names: &[String], around: &Around) -> Result<Ways, BackupError> {
        let (mut snapshots, mut in_place, mut live) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match self.volumes.sharing(name)? {
                Some(_) if self.tells_of_changes(name)? => in_place.push(name.clone()),
                Some(_) => snapshots.push(name.clone()),
                None if around.consistency == "none" => live.push(name.clone()),
                None => return Err(BackupError::NoSnapshot(name.clone())),
            }
        }
        if !self.nobody_writes(&in_place, around)? {
            snapshots.append(&mut in_place);
            snapshots.sort();
        }
        Ok(Ways {
            snapshots,
            in_place,
            live,
        })
    }

    fn save_all(
        &self,
        run: &Run<'_>,
        ways: &Ways,
        taken: &mut Vec<Taken>,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        let held = self.hold_in_place(run, &ways.in_place)?;
        if !ways.snapshots.is_empty() {
            let wanted = SnapshotRequest {
                volumes: ways.snapshots.clone(),
                reason: REASON.to_owned(),
                around: run.request.around.clone(),
                ..SnapshotRequest::default()
            };
            let stopped = || run.cancel.is_cancelled();
            let made = self.snapshots.create(wanted, run.progress, &stopped)?;
            for snapshot in made.snapshots {
                let volume = self.volumes.get(&snapshot.volume)?;
                taken.push(Taken { volume, snapshot });
            }
            sys::fault::step("volume-backup:snapshot");
            done.frozen = made.frozen;
            done.warnings = made.warnings;
            // Their content is what it was meant to be.
            done.warnings.extend(made.failed.as_deref().map(after));
            for Taken { snapshot, .. } in &*taken {
                self.volumes.lease_snapshot(
                    &snapshot.volume,
                    &snapshot.name,
                    &run.holder(),
                    REASON,
                )?;
            }
            sys::fault::step("volume-backup:leased");
        }
        self.save_held(run, held, done)?;
        self.save_snapshots(run, taken, done)?;
        self.save_live(run, &ways.live, done)
    }

    fn save_snapshots(
        &self,
        run: &Run<'_>,
        taken: &[Taken],
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for Taken { volume, snapshot } in taken {
            let Some(id) = &volume.id else { continue };
            let tree = self.volumes.snapshot_tree(id, &snapshot.id)?;
            let source = Source {
                tree: &tree,
                time: snapshot
                    .created_at
                    .parse()
                    .unwrap_or_else(|_| Timestamp::now()),
                consistency: &snapshot.consistency,
                compare: self.compare(&self.volumes.again(volume)?.name)?,
                untouched_since: None,
                volume: volume.clone(),
            };
            done.backups.push(self.save_one(run, &source)?);
        }
        Ok(())
    }

    fn save_live(
        &self,
        run: &Run<'_>,
        names: &[String],
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for name in names {
            done.warnings.push(format!(
                "volume {name} can have no snapshot and was read as it was: what was written meanwhile may be there in part"
            ));
            let volume = self.volumes.get(name)?;
            let tree = self.volumes.mount(name, &run.holder())?;
            let saved = self.save_one(
                run,
                &Source {
                    volume: volume.clone(),
                    tree: &tree,
                    time: Timestamp::now(),
                    consistency: "none",
                    compare: Compare::Changed,
                    untouched_since: None,
                },
            );
            let unmounted = self
                .volumes
                .again(&volume)
                .and_then(|volume| self.volumes.unmount(&volume.name, &run.holder()));
            done.backups.push(saved?);
            unmounted?;
        }
        Ok(())
    }

    /// When a file of a snapshot is what it was in the one before: in copies of files, everything but size and time of change
    /// is another one each time.
    fn compare(&self, volume: &str) -> Result<Compare, BackupError> {
        Ok(match self.volumes.sharing(volume)? {
            Some(Sharing::Instant) => Compare::Changed,
            _ => Compare::Modified,
        })
    }

    pub(super) fn save_one(
        &self,
        run: &Run<'_>,
        source: &Source<'_>,
    ) -> Result<SavedVolume, BackupError> {
        // Those before it may have taken hours.
        let volume = self.volumes.again(&source.volume)?;
        let name = volume.name.as_str();
        if run.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let began = Instant::now();
        let time = source.time.to_string();
        let about = self.volume_manifest(&volume, source.consistency, &time, run.names)?;
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
            untouched_since: source.untouched_since,
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
        self.note(run.row, &volume, &id, &time, &saved)?;
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
            lost: saved.lost,
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
    fn tidy(&self, holder: &str, taken: &[Taken]) -> Vec<String> {
        let mut sentences = Vec::new();
        let released = self
            .volumes
            .release_snapshots(holder)
            .and_then(|()| Ok(self.volumes.release(holder)?));
        if let Err(error) = released {
            sentences.push(format!("a snapshot stays leased: {error}"));
        }
        sentences.extend(taken.iter().filter_map(|Taken { volume, snapshot }| {
            let volume = self.volumes.again(volume).ok()?.name;
            self.drop_snapshot(&Snapshot {
                volume,
                ..snapshot.clone()
            })
        }));
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

fn loss(repository: &str, first: &str, more: usize) -> String {
    let more = if more == 0 {
        String::new()
    } else {
        format!(", and {more} more")
    };
    format!(
        "repository {repository} has lost something: {first}{more}; what this backup needs of it was stored again, and orlop backup \
         check {repository} tells which earlier ones it hurts"
    )
}

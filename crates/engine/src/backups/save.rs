//! `backup`: volumes, all as they were at one instant, into a repository.
//!
//! Steps:
//! 1. the turn of these volumes ([`super::chosen`]) at the repository is waited for, and the repository is opened: what
//!    keeps it from being reached holds up nobody who writes
//! 2. the volumes are leased: from here on none is removed
//! 3. snapshots of all volumes at one instant, on a rung of the ladder of [`crate::snapshot`]; writers go on
//! 4. each snapshot is leased and saved; what becomes a backup is listed and noted at once
//! 5. leases and snapshots go
//!
//! Volumes that nobody writes to are read where they are ([`super::in_place`]). When one turns out to have been touched
//! meanwhile, all is done again, with snapshots.
//!
//! 5 happens whatever 2 to 4 say; after a crash it is the next start that does it. What was uploaded and did not become a
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

use super::chosen::Chosen;
use super::in_place::is_disturbed;
use super::manifest::{CONTAINERS, VOLUME, text};
use super::reference::path_of;
use super::repositories::host_name;
use super::watch::Watching;
use super::{BackupError, Backups, hex, shared};
use crate::cancel::Cancel;
use crate::claims::Claimed;
use crate::error::chain;
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
    /// And those that the caller has found; as with the ones before, it is no error when one is removed meanwhile.
    pub found: Vec<Volume>,
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
    /// Volumes that were found and could not be saved.
    pub failed: Vec<FailedVolume>,
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

/// One of which there is no backup.
#[derive(Debug, Clone)]
pub struct FailedVolume {
    pub volume: String,
    /// A sentence that names it.
    pub error: String,
}

/// What is the same for every volume of a call.
pub(super) struct Run<'a> {
    row: &'a RepositoryRow,
    opened: &'a Repository,
    pub(super) request: &'a BackupRequest,
    group: String,
    /// Of all volumes.
    names: Vec<String>,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// How the volumes of a call are read.
struct Ways {
    /// From snapshots.
    snapshots: Vec<Chosen>,
    /// Where they are, as nobody writes to them.
    in_place: Vec<Chosen>,
    /// Where they are, whatever anybody does.
    live: Vec<Chosen>,
}

/// A snapshot that was made for a call, and the volume of which it is one, whatever that is called by now.
struct Taken {
    of: Chosen,
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
    /// the repository. Backups of other volumes of the call that were complete then stay. What concerns a single volume that
    /// nobody named is no error but in [`BackedUp::failed`].
    pub fn backup(
        &self,
        request: &BackupRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<BackedUp, BackupError> {
        let chosen = self.chosen(request)?;
        let row = self.pick(request.to.as_deref())?;
        self.check_snapshots(&chosen, request)?;
        let _turn = self.turn(&row, &chosen, progress, cancel)?;
        let lock = self.lock_of(&row);
        let _shared = shared(&lock);
        let opened = self.open_row(&row)?;
        let run = || Run {
            row: &row,
            opened: &opened,
            request,
            group: random(),
            names: Vec::new(),
            progress,
            cancel,
        };
        let mut in_place = true;
        match self.attempt(run(), &chosen, &mut in_place) {
            Err(error) if !in_place => {
                tracing::info!(error = chain(&error), "backing up again, from snapshots");
                self.attempt(run(), &chosen, &mut in_place)
            }
            other => other,
        }
    }

    /// All after the repository was opened. Volumes may be read `in_place`, which is false after somebody has disturbed that.
    fn attempt(
        &self,
        mut run: Run<'_>,
        chosen: &[Chosen],
        in_place: &mut bool,
    ) -> Result<BackedUp, BackupError> {
        let mut done = BackedUp {
            repository: run.row.name.clone(),
            group: run.group.clone(),
            backups: Vec::new(),
            failed: Vec::new(),
            frozen: Duration::ZERO,
            warnings: Vec::new(),
        };
        let mut taken = Vec::new();
        let saved = self.lease_all(&run, chosen).and_then(|kept| {
            run.names = kept.iter().map(|one| one.volume.name.clone()).collect();
            let ways = self.divided(&kept, &run.request.around, *in_place, &mut done)?;
            self.save_all(&run, ways, &mut taken, in_place, &mut done)
        });
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
        chosen: &[Chosen],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Claimed<(String, String)>, BackupError> {
        let key = |Chosen { volume, .. }: &Chosen| {
            // A volume that is renamed meanwhile is the same; one whose bytes are elsewhere has its name alone.
            let volume = volume
                .id
                .as_ref()
                .map_or(volume.name.as_str(), |id| id.as_str());
            (row.id.as_str().to_owned(), volume.to_owned())
        };
        let keys = chosen.iter().map(key).collect();
        self.turns
            .claim_unless(cancel, keys, |which| {
                progress.status(&chosen[which].volume.name, "Waiting for another backup");
            })
            .ok_or(BackupError::Cancelled)
    }

    fn divided(
        &self,
        kept: &[Chosen],
        around: &Around,
        in_place_allowed: bool,
        done: &mut BackedUp,
    ) -> Result<Ways, BackupError> {
        let (mut snapshots, mut in_place, mut live) = (Vec::new(), Vec::new(), Vec::new());
        for one in kept {
            // Whether it can have a snapshot, and whether it tells of changes.
            let able = self.renamed(&one.volume, |volume| {
                let has_snapshots = self.volumes.sharing(&volume.name)?.is_some();
                Ok((
                    has_snapshots,
                    has_snapshots && Self::tells_of_changes(volume)?,
                ))
            });
            match able {
                Ok((_, true)) => in_place.push(one.clone()),
                Ok((true, _)) => snapshots.push(one.clone()),
                Ok(_) if around.consistency == "none" => live.push(one.clone()),
                Ok(_) => return Err(BackupError::NoSnapshot(one.volume.name.clone())),
                Err(error) => one.spare(error, done)?,
            }
        }
        if !in_place_allowed || !self.nobody_writes(&in_place, around)? {
            snapshots.append(&mut in_place);
            snapshots.sort_by(|a, b| a.volume.name.cmp(&b.volume.name));
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
        ways: Ways,
        taken: &mut Vec<Taken>,
        in_place: &mut bool,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        let held = self.hold_in_place(ways.in_place, done)?;
        if !ways.snapshots.is_empty() {
            self.take_snapshots(run, ways.snapshots, taken, done)?;
        }
        self.save_held(run, held, done)
            .inspect_err(|error| *in_place = !is_disturbed(error))?;
        self.save_snapshots(run, taken, done)?;
        self.save_live(run, &ways.live, done)
    }

    fn take_snapshots(
        &self,
        run: &Run<'_>,
        wanted: Vec<Chosen>,
        taken: &mut Vec<Taken>,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        let volumes: Vec<&Volume> = wanted.iter().map(|one| &one.volume).collect();
        let stopped = || run.cancel.is_cancelled();
        let made = self.all_renamed(&volumes, |volumes| {
            let request = SnapshotRequest {
                volumes: volumes.iter().map(|volume| volume.name.clone()).collect(),
                reason: REASON.to_owned(),
                around: run.request.around.clone(),
                ..SnapshotRequest::default()
            };
            Ok(self.snapshots.create(request, run.progress, &stopped)?)
        })?;
        // All of them, before anything fails: what is not among them is not tidied up. They come in the order of the volumes.
        let pairs = wanted.into_iter().zip(made.snapshots);
        taken.extend(pairs.map(|(of, snapshot)| Taken { of, snapshot }));
        sys::fault::step("volume-backup:snapshot");
        done.frozen = made.frozen;
        done.warnings = made.warnings;
        // Their content is what it was meant to be.
        done.warnings.extend(made.failed.as_deref().map(after));
        for Taken { of, snapshot } in &*taken {
            self.renamed(&of.volume, |volume| {
                let holder = run.holder();
                let (volume, snapshot) = (&volume.name, &snapshot.name);
                self.volumes
                    .lease_snapshot(volume, snapshot, &holder, REASON)?;
                Ok(())
            })?;
        }
        sys::fault::step("volume-backup:leased");
        Ok(())
    }

    fn save_snapshots(
        &self,
        run: &Run<'_>,
        taken: &[Taken],
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for Taken { of, snapshot } in taken {
            match self.save_snapshot(run, &of.volume, snapshot) {
                Ok(Some(saved)) => done.backups.push(saved),
                Ok(None) => {}
                Err(error) => of.spare(error, done)?,
            }
        }
        Ok(())
    }

    fn save_snapshot(
        &self,
        run: &Run<'_>,
        volume: &Volume,
        snapshot: &Snapshot,
    ) -> Result<Option<SavedVolume>, BackupError> {
        let Some(id) = &volume.id else {
            return Ok(None);
        };
        let tree = self.volumes.snapshot_tree(id, &snapshot.id)?;
        let source = Source {
            tree: &tree,
            time: snapshot
                .created_at
                .parse()
                .unwrap_or_else(|_| Timestamp::now()),
            consistency: &snapshot.consistency,
            compare: self.renamed(volume, |volume| self.compare(&volume.name))?,
            untouched_since: None,
            volume: volume.clone(),
        };
        self.save_one(run, &source).map(Some)
    }

    fn save_live(
        &self,
        run: &Run<'_>,
        live: &[Chosen],
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for one in live {
            match self.save_mounted(run, &one.volume) {
                Ok(saved) => {
                    done.warnings.push(format!(
                        "volume {} can have no snapshot and was read as it was: what was written meanwhile may be there in part",
                        saved.volume
                    ));
                    done.backups.push(saved);
                }
                Err(error) => one.spare(error, done)?,
            }
        }
        Ok(())
    }

    fn save_mounted(&self, run: &Run<'_>, volume: &Volume) -> Result<SavedVolume, BackupError> {
        let tree = self.renamed(volume, |volume| {
            Ok(self.volumes.mount(&volume.name, &run.holder())?)
        })?;
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
        let unmounted = self.renamed(volume, |volume| {
            Ok(self.volumes.unmount(&volume.name, &run.holder())?)
        });
        let saved = saved?;
        unmounted?;
        Ok(saved)
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
        if run.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let began = Instant::now();
        let time = source.time.to_string();
        // Those before it may have taken hours.
        let (volume, about, containers) = self.renamed(&source.volume, |volume| {
            let about = self.volume_manifest(volume, source.consistency, &time, &run.names)?;
            Ok((
                volume.clone(),
                about,
                self.containers_manifest(&volume.name)?,
            ))
        })?;
        let name = volume.name.as_str();
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

    /// Who may hold volumes for as long as a call lasts: whatever is left of it ends with the next start.
    pub(crate) fn new_holder() -> String {
        format!("{HOLDER}{}", random())
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
        sentences.extend(taken.iter().filter_map(|Taken { of, snapshot }| {
            let volume = self.volumes.again(&of.volume).ok()?.name;
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

fn random() -> String {
    let text = store::ContainerId::random();
    text.as_str().chars().take(16).collect()
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

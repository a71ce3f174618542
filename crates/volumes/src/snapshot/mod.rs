//! Snapshots: a volume as it was, to look at, to go back to, to go on from.
//!
//! A snapshot belongs to one volume and lies in its directory, `data/<volume id>/snapshots/<id>`, while the present lies
//! in `_data` beside it; people write it `VOLUME@SNAPSHOT`. What it costs is the driver's affair
//! ([`crate::driver::Sharing`]): nothing on btrfs, the names where files can share data, every byte elsewhere.
//!
//! * [`create`] makes snapshots of one volume, or of several at one instant;
//! * [`restore`] makes one the present, and the present a snapshot: nothing is lost, and it can be undone;
//! * [`receive`] takes a content from elsewhere that a restore then makes the present;
//! * [`clone`] makes a volume out of one, or out of the present;
//! * [`cost`] says before what a copy takes;
//! * [`diff`] tells what changed;
//! * [`lease`] lets somebody have one for reading;
//! * [`remove`] deletes one; [`schedule`] says which are made, and given up, by themselves.
//!
//! Guarantees: those of this crate; and a snapshot that exists never changes, is complete, and goes only when it is
//! removed by name, by its own expiry, by a schedule that made it, or with its volume.
//!
//! Lock order: names of volumes in alphabetical order; [`Quiet::hold`] is called with them held.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use store::names::is_name;
use store::{SnapshotId, SnapshotRow, SnapshotState, VolumeId, VolumeRow, VolumeState};
use sys::commit_order::Next;

use crate::Volumes;
use crate::driver::{Driver, Options, Place, Sharing};

pub mod clone;
pub mod cost;
pub mod create;
pub mod diff;
pub mod lease;
pub mod receive;
pub mod remove;
pub mod restore;
pub mod schedule;

mod error;
pub(crate) mod recover;

pub use clone::CloneVolume;
pub use cost::Cost;
pub use create::CreateSnapshots;
pub use diff::{Change, ChangeKind};
pub use error::SnapshotError;
pub use lease::LeasedSnapshot;
pub use restore::{RestoreFrom, Restored};
pub use schedule::{Policy, Schedule};

/// Why a snapshot was made, when nobody asked for it by name.
pub const BEFORE_RESTORE: &str = "before-restore";

/// Whether a volume's history tells of snapshots that were made for this reason: what is made to be read once is part of something
/// that tells of itself.
fn is_told(reason: &str) -> bool {
    matches!(reason, "manual" | schedule::REASON) || reason.starts_with("before-")
}

/// Holds still who writes to volumes while they are copied.
pub trait Quiet {
    /// Called right before [`Quiet::hold`]: has the disk hold what the writers have written, so that little of that is left to do
    /// while they are held.
    ///
    /// # Errors
    /// As [`Quiet::hold`].
    fn ready(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// Called right before the first byte is copied.
    ///
    /// # Errors
    /// Whatever keeps the writers from being held: nothing is copied then.
    fn hold(&self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Called right after the last byte was copied, before [`Quiet::release`].
    ///
    /// # Errors
    /// When somebody wrote all the same: what was copied is worth nothing.
    fn stood_still(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// Whether anybody is held. Then as much as possible is copied before, and only the rest while they are.
    fn is_felt(&self) -> bool;

    /// Called as soon as the last one is, and after a failure; after a [`Quiet::hold`] that failed, too.
    fn release(&self);
}

/// Nobody is held.
#[derive(Debug, Clone, Copy)]
pub struct Unheld;

impl Quiet for Unheld {
    fn hold(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn is_felt(&self) -> bool {
        false
    }

    fn release(&self) {}
}

/// A snapshot as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// Name of the volume.
    pub volume: String,
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    pub labels: BTreeMap<String, String>,
    pub reason: String,
    pub consistency: String,
    pub group: Option<String>,
    /// RFC 3339.
    pub expires_at: Option<String>,
    pub pinned: bool,
    /// Bytes of its files, when making it told them.
    pub size: Option<u64>,
    /// Where its bytes are.
    pub path: PathBuf,
    /// Who holds it.
    pub holders: Vec<String>,
}

/// Splits `VOLUME@SNAPSHOT`.
///
/// # Errors
/// [`SnapshotError::Reference`].
pub fn parse_reference(text: &str) -> Result<(&str, &str), SnapshotError> {
    text.split_once('@')
        .filter(|(volume, name)| !volume.is_empty() && !name.is_empty())
        .ok_or_else(|| SnapshotError::Reference(text.to_owned()))
}

impl Volumes {
    /// Complete snapshots of one volume, or of all, oldest first.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`] inside [`SnapshotError::Volume`].
    pub fn snapshots(&self, volume: Option<&str>) -> Result<Vec<Snapshot>, SnapshotError> {
        let only = volume.map(|name| self.row(name)).transpose()?;
        self.store.read(|tx| {
            let rows = match &only {
                Some(row) => tx.snapshots_of(&row.id)?,
                None => tx.snapshots_in_any_state()?,
            };
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let names: BTreeMap<VolumeId, String> = match &only {
                Some(row) => [(row.id.clone(), row.name.clone())].into(),
                None => tx
                    .volume_identities()?
                    .into_iter()
                    .filter(|(_, _, state)| *state == VolumeState::Ready)
                    .map(|(id, name, _)| (id, name))
                    .collect(),
            };
            let mut shown = Vec::new();
            for row in rows
                .into_iter()
                .filter(|row| row.state == SnapshotState::Ready)
            {
                // Those of volumes in the trash wait there with them.
                let Some(volume) = names.get(&row.volume) else {
                    continue;
                };
                let holders = tx.snapshot_holders(&row.id)?;
                shown.push(self.shown_snapshot(row, volume, holders));
            }
            Ok(shown)
        })
    }

    /// One snapshot by volume and name.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`]; [`VolumeError::NotFound`] inside [`SnapshotError::Volume`].
    pub fn snapshot(&self, volume: &str, name: &str) -> Result<Snapshot, SnapshotError> {
        let volume = self.row(volume)?;
        let row = self.snapshot_row(&volume, name)?;
        let holders = self.store.read(|tx| tx.snapshot_holders(&row.id))?;
        Ok(self.shown_snapshot(row, &volume.name, holders))
    }

    /// Keeps a snapshot from expiry and retention, or gives it back to them.
    ///
    /// # Errors
    /// As [`Volumes::snapshot`].
    pub fn pin_snapshot(
        &self,
        volume: &str,
        name: &str,
        pinned: bool,
    ) -> Result<(), SnapshotError> {
        let row = self.snapshot_row(&self.row(volume)?, name)?;
        let action = if pinned { "pin" } else { "unpin" };
        self.store.write(|tx| {
            tx.pin_snapshot(&row.id, pinned)?;
            let now = Timestamp::now().to_string();
            tx.insert_volume_event(&row.volume, &now, action, name)
        })?;
        self.describe(&row.volume);
        Ok(())
    }

    fn shown_snapshot(&self, row: SnapshotRow, volume: &str, holders: Vec<String>) -> Snapshot {
        Snapshot {
            path: self.paths.snapshot(&row.volume, &row.id),
            volume: volume.to_owned(),
            id: row.id,
            name: row.name,
            created_at: row.created_at,
            labels: row.labels.unwrap_or_default(),
            reason: row.reason,
            consistency: row.consistency,
            group: row.group,
            expires_at: row.expires_at,
            pinned: row.pinned,
            size: row.size,
            holders,
        }
    }

    /// The complete snapshot called `name`.
    fn snapshot_row(&self, volume: &VolumeRow, name: &str) -> Result<SnapshotRow, SnapshotError> {
        self.store
            .read(|tx| tx.snapshot_by_name(&volume.id, name))?
            .filter(|row| row.state == SnapshotState::Ready)
            .ok_or_else(|| SnapshotError::NotFound {
                volume: volume.name.clone(),
                name: name.to_owned(),
            })
    }

    pub(crate) fn sharing_of(&self, row: &VolumeRow) -> Result<Sharing, SnapshotError> {
        let none = Options::new();
        self.expose(row, &self.paths.volume_content(&row.id))?;
        let place = Place {
            directory: &self.paths.volume(&row.id),
            content: &self.paths.volume_content(&row.id),
            mountpoint: &self.paths.mountpoint(&row.name),
            options: row.options.as_ref().unwrap_or(&none),
        };
        self.tree_driver(&row.name, &row.driver)?
            .sharing(place)?
            .ok_or_else(|| SnapshotError::Elsewhere(row.name.clone()))
    }

    fn tree_driver(&self, volume: &str, driver: &str) -> Result<&dyn Driver, SnapshotError> {
        self.drivers
            .find(driver)
            .ok_or_else(|| SnapshotError::Elsewhere(volume.to_owned()))
    }

    /// The locks of several names, to be taken in this order.
    fn name_locks<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Arc<Mutex<()>>> {
        let sorted: std::collections::BTreeSet<&str> = names.collect();
        sorted
            .into_iter()
            .map(|name| self.name_lock(name))
            .collect()
    }

    /// A name made of `stem` that none of the volumes' snapshots has. The caller holds the volumes' locks.
    fn free_name(&self, stem: &str, volumes: &[VolumeRow]) -> Result<String, SnapshotError> {
        let taken = |name: &str| -> Result<bool, SnapshotError> {
            self.store.read(|tx| {
                for row in volumes {
                    if tx.snapshot_by_name(&row.id, name)?.is_some() {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
        };
        let mut name = stem.to_owned();
        let mut number = 2_u32;
        while taken(&name)? {
            name = format!("{stem}-{number}");
            number += 1;
        }
        Ok(name)
    }

    /// Before anything of a copy is made: once it is on disk, so is the intent. `to` is a directory in the filesystem that it will
    /// lie in, if it is one that shares the data of `from`.
    fn wait_for_intent(
        &self,
        driver: &dyn Driver,
        from: &Path,
        to: &Path,
    ) -> Result<(), SnapshotError> {
        let next = if driver.is_committed_whole(from)? {
            Next::Subvolumes
        } else {
            Next::Anything
        };
        let to = sys::dir::open(to).map_err(SnapshotError::io("open", to))?;
        Ok(self.store.wait_before(next, to.as_fd())?)
    }

    /// The directory of a volume's snapshots, made with the first one.
    fn ensure_snapshots(&self, volume: &VolumeId) -> Result<(), SnapshotError> {
        let directory = self.paths.snapshots(volume);
        sys::durable::ensure_dir(&directory, 0o700).map_err(SnapshotError::io("make", directory))
    }
}

/// A time as a name: `2026-11-21T10-49-00Z`.
fn time_name(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// Checks a name that somebody chose.
fn check_name(name: &str) -> Result<(), SnapshotError> {
    if is_name(name) {
        Ok(())
    } else {
        Err(SnapshotError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_references() {
        for good in [
            "a",
            "A.b_c-9",
            "2026-11-21T10-49-00Z",
            "before-restore-2026",
        ] {
            check_name(good).expect(good);
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a@b", &"a".repeat(129)] {
            check_name(bad).expect_err(bad);
        }
        assert_eq!(parse_reference("v@s").expect("both"), ("v", "s"));
        for bad in ["v", "@s", "v@", "@"] {
            parse_reference(bad).expect_err(bad);
        }
        let time: Timestamp = "2026-11-21T10:49:00.5Z".parse().expect("a time");
        assert_eq!(time_name(time), "2026-11-21T10-49-00Z");
    }
}

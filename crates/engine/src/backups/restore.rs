//! `restore`: a volume out of a backup.
//!
//! A volume that is not there is made: its content is written and checked before anybody sees it, then it has its labels,
//! options, limits and protection again. A volume that is there gets the content of the backup in the place of its own,
//! which becomes a snapshot, as by a restore of a snapshot: its labels and limits stay, and it can be undone. A failure or a
//! crash before that leaves what there was.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use backup::{Backup, Repository, Restored};
use jiff::Timestamp;
use store::RepositoryRow;
use volumes::receive::Received;
use volumes::{CreateVolume, RestoreFrom, SnapshotError, VolumeError};

use super::manifest::{DATA, VOLUME, VolumeManifest, parse};
use super::reference::volume_of;
use super::repositories::{named, of_backup};
use super::watch::Watching;
use super::{BackupError, Backups, hex, shared};
use crate::cancel::Cancel;
use crate::progress::Progress;

/// What events and histories call it.
const RESTORE: &str = "restore";

/// What shall be restored, and to where.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// `REPOSITORY:VOLUME[@WHICH]`.
    pub from: String,
    /// A new volume of this name; `None`: the volume that was backed up, new or not.
    pub name: Option<String>,
    /// This directory of the backup alone, as the whole of a new volume.
    pub path: Option<String>,
    /// Also while running containers have the volume; they keep what it held until they are restarted.
    pub force: bool,
    pub beside: Beside,
}

/// What a new volume is from the moment at which it is seen, beside what the backup tells.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub labels: BTreeMap<String, String>,
    /// Who needs it, so that it is not removed before it has users: see [`Backups::new_holder`].
    pub holder: Option<String>,
}

/// A volume that holds what a backup holds.
#[derive(Debug, Clone)]
pub struct RestoredVolume {
    pub volume: String,
    pub repository: String,
    /// Id of the backup.
    pub backup: String,
    /// RFC 3339: the instant that it shows.
    pub time: String,
    pub files: u64,
    pub bytes: u64,
    /// Name of the snapshot that holds what the volume held before; `None`: it is a new volume.
    pub kept: Option<String>,
    pub warnings: Vec<String>,
}

/// A backup whose place in the repository is known.
pub(super) struct Found<'a> {
    pub(super) row: &'a RepositoryRow,
    pub(super) opened: &'a Repository,
    pub(super) backup: Backup,
    /// The directory in the backup that is the root of the volume.
    pub(super) root: String,
    pub(super) manifest: Option<VolumeManifest>,
}

impl Backups {
    /// Restores a volume.
    ///
    /// # Errors
    /// [`BackupError::Restore`] with the cause; those of naming the backup; [`BackupError::VolumeExists`],
    /// [`TurnBackError::Mounted`](crate::snapshot::TurnBackError::Mounted) without `force`.
    pub fn restore(
        &self,
        request: &RestoreRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<RestoredVolume, BackupError> {
        let reference = self.reference(&request.from)?;
        let row = &reference.repository;
        let lock = self.lock_of(row);
        let _shared = shared(&lock);
        let opened = self.open_row(row)?;
        let backup = self.one(&request.from, &reference, &opened)?;
        let mut found = Self::found(row, &opened, backup)?;
        if let Some(path) = &request.path {
            let below = path.trim_matches('/');
            if !below.is_empty() {
                found.root = format!("{}/{below}", found.root);
            }
        }
        let name = match &request.name {
            Some(name) => name.clone(),
            None if request.path.is_some() => return Err(BackupError::PartNeedsName),
            None => volume_of(&found.backup).map(str::to_owned).ok_or_else(|| {
                BackupError::NeedsName {
                    id: found.backup.id.to_string(),
                }
            })?,
        };
        let exists = match self.volumes.get(&name) {
            Ok(_) => true,
            Err(VolumeError::NotFound(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if exists && request.name.is_some() {
            return Err(BackupError::VolumeExists(name));
        }
        if exists {
            self.restore_over(&found, &name, request.force, progress, cancel)
        } else {
            self.restore_new(&found, &name, &request.beside, progress, cancel)
        }
    }

    /// Finds out what is where in a backup: one of a volume has its files in a directory of their own.
    pub(super) fn found<'a>(
        row: &'a RepositoryRow,
        opened: &'a Repository,
        backup: Backup,
    ) -> Result<Found<'a>, BackupError> {
        let top = backup.paths.first().cloned().unwrap_or_default();
        let mut manifest = None;
        let mut root = top.clone();
        if volume_of(&backup).is_some() {
            let mut text = Vec::new();
            match opened.cat(backup.id, Path::new(&format!("{top}/{VOLUME}")), &mut text) {
                Ok(()) => {
                    manifest = Some(parse("volume", &text)?);
                    root = format!("{top}/{DATA}");
                }
                // Another program may have saved a directory of this name.
                Err(backup::BackupError::NoPath { .. }) => {}
                Err(error) => return Err(of_backup(row, &backup)(error)),
            }
        }
        Ok(Found {
            row,
            opened,
            backup,
            root,
            manifest,
        })
    }

    pub(super) fn restore_new(
        &self,
        found: &Found<'_>,
        name: &str,
        beside: &Beside,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<RestoredVolume, BackupError> {
        let mut manifest = found.manifest.clone().unwrap_or_default();
        manifest.labels.extend(beside.labels.clone());
        let mut warnings = Vec::new();
        let create = CreateVolume {
            name: Some(name.to_owned()),
            options: self.options(&manifest, name, &mut warnings)?,
            labels: manifest.labels.clone(),
            ..CreateVolume::default()
        };
        let mut written = None;
        let as_was = Received {
            protected: manifest.protected,
            event: Some((RESTORE.to_owned(), Self::told(found))),
            holder: beside.holder.clone(),
            ..Received::default()
        };
        let received = self.volumes.receive(create, as_was, &mut |tree: &Path| {
            written = Some(Self::write(found, name, tree, progress, cancel)?);
            Ok(())
        });
        received.map_err(|error| match error {
            VolumeError::Received { source, .. } => failed(found, name, source),
            VolumeError::NameTaken(name) => BackupError::VolumeExists(name),
            error => error.into(),
        })?;
        Ok(self.restored(found, name, written, None, warnings))
    }

    fn restore_over(
        &self,
        found: &Found<'_>,
        name: &str,
        force: bool,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<RestoredVolume, BackupError> {
        // Sooner than after everything has come.
        self.snapshots.may_restore(name, force)?;
        let mut written = None;
        let received = self.volumes.receive_content(name, &mut |tree: &Path| {
            written = Some(Self::write(found, name, tree, progress, cancel)?);
            Ok(())
        });
        let received = received.map_err(|error| match error {
            SnapshotError::Volume(VolumeError::Received { source, .. }) => {
                failed(found, name, source)
            }
            error => error.into(),
        })?;
        sys::fault::step("backup-restore:received");
        let from = RestoreFrom::Received(received.clone());
        let turned = self
            .snapshots
            .restore(name, &from, force, progress, &|| cancel.is_cancelled());
        let turned = match turned {
            Ok(turned) => turned,
            Err(error) => {
                // Without a record of it the restore itself has taken it away, or will.
                if let Err(stays) = self.volumes.refuse_content(name, &received)
                    && stays.kind() != store::ErrorKind::NotFound
                {
                    tracing::warn!(volume = name, error = %stays, "what a restore brought stays until the next start");
                }
                return Err(error.into());
            }
        };
        let volume = self.volumes.get(name)?;
        if let Some(volume) = &volume.id {
            let now = Timestamp::now().to_string();
            self.store
                .write(|tx| tx.insert_volume_event(volume, &now, RESTORE, &Self::told(found)))?;
        }
        Ok(self.restored(found, name, written, turned.kept, turned.warnings))
    }

    /// What the history of the volume says of it.
    fn told(found: &Found<'_>) -> String {
        format!("{:.8} from {}", hex(found.backup.id), found.row.name)
    }

    fn write(
        found: &Found<'_>,
        name: &str,
        tree: &Path,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Restored, backup::BackupError> {
        let watch = Watching::new(name, "Restoring", progress, cancel);
        found
            .opened
            .restore(found.backup.id, Path::new(&found.root), tree, &watch)
    }

    fn restored(
        &self,
        found: &Found<'_>,
        name: &str,
        written: Option<Restored>,
        kept: Option<String>,
        mut warnings: Vec<String>,
    ) -> RestoredVolume {
        let id = hex(found.backup.id);
        self.tell(
            RESTORE,
            name,
            &[("repository", &found.row.name), ("backup", &id)],
        );
        let (files, bytes) = written
            .as_ref()
            .map_or((0, 0), |written| (written.files, written.bytes));
        warnings.extend(written.iter().flat_map(|written| losses(name, written)));
        RestoredVolume {
            volume: name.to_owned(),
            repository: found.row.name.clone(),
            backup: id,
            time: found.backup.time.to_string(),
            files,
            bytes,
            kept,
            warnings,
        }
    }

    /// The options that a volume like the one in the backup has here, where its bytes lie on this host.
    fn options(
        &self,
        manifest: &VolumeManifest,
        name: &str,
        warnings: &mut Vec<String>,
    ) -> Result<BTreeMap<String, String>, BackupError> {
        let mut options = BTreeMap::new();
        if !manifest.driver.is_empty() && manifest.driver != "local" {
            warnings.push(format!(
                "volume {name} was kept by volume plugin {}: it is one of the local driver now",
                manifest.driver
            ));
        } else if let Some(device) = manifest.options.get("device") {
            warnings.push(format!(
                "the bytes of volume {name} were on {device}: they are in the volume itself now"
            ));
        } else if let Some(image) = manifest.options.get("image") {
            options.insert("image".to_owned(), image.clone());
        }
        for (key, limit) in [
            ("size", manifest.bytes),
            ("inodes", manifest.inodes),
            ("soft-size", manifest.soft_bytes),
        ] {
            options.extend(limit.map(|limit| (key.to_owned(), limit.to_string())));
        }
        if !options.contains_key("size") {
            options.remove("image");
        }
        if let Some(pool) = manifest.options.get("pool") {
            if self.volumes.pool(pool).is_ok() {
                options.insert("pool".to_owned(), pool.clone());
            } else {
                warnings.push(format!(
                    "there is no pool {pool} here: volume {name} lies where new volumes go"
                ));
            }
        }
        Ok(options)
    }
}

/// What this host did not take.
fn losses(name: &str, written: &Restored) -> Vec<String> {
    [
        (written.attributes_lost, "extended attributes"),
        (written.skipped, "entries of kinds that do not exist here"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("volume {name}: {count} {what} could not be restored"))
    .collect()
}

/// From what the writer of a content returned.
fn failed(found: &Found<'_>, name: &str, error: Box<dyn Error + Send + Sync>) -> BackupError {
    match error.downcast::<backup::BackupError>() {
        Ok(error) => match *error {
            backup::BackupError::Stopped => BackupError::Cancelled,
            source => BackupError::Restore {
                volume: name.to_owned(),
                repository: found.row.name.clone(),
                what: named(found.backup.id, Some(&found.backup)),
                source: Box::new(source),
            },
        },
        Err(error) => BackupError::Volume(VolumeError::Received {
            name: found.root.clone(),
            source: error,
        }),
    }
}

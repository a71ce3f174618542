//! Volumes that are read where they are, because nobody writes to them: a snapshot may be a copy of every file, and where it is
//! none, what the kernel has of the volume in memory is not there for the snapshot's files.
//!
//! Guarantees: a backup is recorded only when the volume was not touched between one instant, the same for all volumes of the
//! call, and the time when all of it was read: it shows that instant, as one of a snapshot does.
//!
//! Steps: 1. leases; 2. the filesystems are synced, so that what is written through mappings leaves a trace from here on; 3. the
//! instant, and then that of the snapshots of other volumes; 4. each volume is saved, and found untouched before its backup is
//! recorded.

use std::os::fd::AsFd as _;

use backup::Compare;
use jiff::Timestamp;
use sys::catch_up::Began;
use sys::untouched::can_be_told;
use volumes::Volume;

use super::save::{BackedUp, REASON, Run, Source};
use super::{BackupError, Backups};
use crate::snapshot::Around;

/// What the record says of how writers were held: they were none, and the filesystem was synced.
const CONSISTENCY: &str = "sync";

/// Whether saving a volume where it is failed because of somebody who changed it meanwhile.
pub(super) fn is_disturbed(error: &backup::BackupError) -> bool {
    matches!(
        error,
        backup::BackupError::Touched { .. } | backup::BackupError::Unreadable { .. }
    )
}

/// Volumes that are to be read where they are, and the instant.
pub(super) struct Held {
    volumes: Vec<Volume>,
    began: Began,
    time: Timestamp,
}

impl Backups {
    /// Whether nothing has to be done to any writer, and no container is there that may write.
    pub(super) fn nobody_writes(
        &self,
        volumes: &[String],
        around: &Around,
    ) -> Result<bool, BackupError> {
        let asked = matches!(around.consistency.as_str(), "" | "none" | CONSISTENCY)
            && [&around.hook, &around.before, &around.after]
                .into_iter()
                .all(String::is_empty);
        if !asked {
            return Ok(false);
        }
        for volume in volumes {
            let users = self.containers.users_of(volume)?;
            if users
                .iter()
                .any(|user| user.writes && user.status.is_active())
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it would be seen that the volume was touched.
    pub(super) fn tells_of_changes(&self, name: &str) -> Result<bool, BackupError> {
        let path = self.volumes.get(name)?.mountpoint;
        sys::dir::open(&path)
            .and_then(|root| can_be_told(root.as_fd()))
            .map_err(BackupError::io("look at", &path))
    }

    /// Takes what [`Backups::save_held`] saves.
    pub(super) fn hold_in_place(
        &self,
        run: &Run<'_>,
        names: &[String],
    ) -> Result<Held, BackupError> {
        for name in names {
            self.volumes.lease(name, &run.holder(), REASON, false)?;
        }
        if !names.is_empty() {
            sys::fault::step("backup-in-place:leased");
        }
        let mut volumes = Vec::with_capacity(names.len());
        for name in names {
            let volume = self.volumes.get(name)?;
            sys::dir::open(&volume.mountpoint)
                .and_then(|root| Ok(rustix::fs::syncfs(root.as_fd())?))
                .map_err(BackupError::io("sync", &volume.mountpoint))?;
            volumes.push(volume);
        }
        Ok(Held {
            volumes,
            began: if names.is_empty() {
                Began::now()
            } else {
                Began::after_rest()
            },
            time: Timestamp::now(),
        })
    }

    pub(super) fn save_held(
        &self,
        run: &Run<'_>,
        held: Held,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for volume in held.volumes {
            let volume = self.volumes.again(&volume)?;
            let source = Source {
                tree: &volume.mountpoint.clone(),
                volume,
                time: held.time,
                consistency: CONSISTENCY,
                compare: Compare::Changed,
                untouched_since: Some(&held.began),
            };
            done.backups.push(self.save_one(run, &source)?);
        }
        Ok(())
    }
}

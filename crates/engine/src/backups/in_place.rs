//! Volumes that are read where they are, because nobody writes to them: a snapshot may be a copy of every file, and where it is
//! none, what the kernel has of the volume in memory is not there for the snapshot's files.
//!
//! Guarantees: a backup is recorded only when the volume was not touched between one instant, the same for all volumes of the
//! call, and the time when all of it was read: it shows that instant, as one of a snapshot does.
//!
//! Steps, all volumes being leased: 1. the filesystems are synced, so that what is written through mappings leaves a trace from here on; 2. the
//! instant, and then that of the snapshots of other volumes; 3. each volume is saved, and found untouched before its backup is
//! recorded.

use std::os::fd::AsFd as _;

use backup::Compare;
use jiff::Timestamp;
use sys::catch_up::Began;
use sys::untouched::can_be_told;
use volumes::Volume;

use super::chosen::Chosen;
use super::save::{BackedUp, Run, Source};
use super::{BackupError, Backups};
use crate::snapshot::Around;

/// What the record says of how writers were held: they were none, and the filesystem was synced.
const CONSISTENCY: &str = "sync";

/// Whether saving a volume where it is failed because of somebody who changed it meanwhile.
pub(super) fn is_disturbed(error: &BackupError) -> bool {
    let BackupError::Save { source, .. } = error else {
        return false;
    };
    matches!(
        **source,
        backup::BackupError::Touched { .. } | backup::BackupError::Unreadable { .. }
    )
}

/// Volumes that are to be read where they are, and the instant.
pub(super) struct Held {
    volumes: Vec<Chosen>,
    began: Began,
    time: Timestamp,
}

impl Backups {
    /// Whether nothing has to be done to any writer, and no container is there that may write.
    pub(super) fn nobody_writes(
        &self,
        chosen: &[Chosen],
        around: &Around,
    ) -> Result<bool, BackupError> {
        let asked = matches!(around.consistency.as_str(), "" | "none" | CONSISTENCY)
            && [&around.hook, &around.before, &around.after]
                .into_iter()
                .all(String::is_empty);
        if !asked {
            return Ok(false);
        }
        for Chosen { volume, .. } in chosen {
            let users = self.renamed(volume, |volume| {
                Ok(self.containers.users_of(&volume.name)?)
            })?;
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
    pub(super) fn tells_of_changes(volume: &Volume) -> Result<bool, BackupError> {
        let path = &volume.mountpoint;
        sys::dir::open(path)
            .and_then(|root| can_be_told(root.as_fd()))
            .map_err(BackupError::io("look at", path))
    }

    /// Takes what [`Backups::save_held`] saves.
    pub(super) fn hold_in_place(
        &self,
        chosen: Vec<Chosen>,
        done: &mut BackedUp,
    ) -> Result<Held, BackupError> {
        let began = if chosen.is_empty() {
            Began::now
        } else {
            sys::fault::step("backup-in-place:leased");
            Began::after_rest
        };
        let mut volumes = Vec::with_capacity(chosen.len());
        for one in chosen {
            let synced = self.renamed(&one.volume, |volume| {
                let path = &volume.mountpoint;
                sys::dir::open(path)
                    .and_then(|root| Ok(rustix::fs::syncfs(root.as_fd())?))
                    .map_err(BackupError::io("sync", path))
            });
            match synced {
                Ok(()) => volumes.push(one),
                Err(error) => one.spare(error, done)?,
            }
        }
        Ok(Held {
            volumes,
            began: began(),
            time: Timestamp::now(),
        })
    }

    pub(super) fn save_held(
        &self,
        run: &Run<'_>,
        held: Held,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        for one in held.volumes {
            let saved = self.renamed(&one.volume, |volume| {
                let source = Source {
                    tree: &volume.mountpoint,
                    volume: volume.clone(),
                    time: held.time,
                    consistency: CONSISTENCY,
                    compare: Compare::Changed,
                    untouched_since: Some(&held.began),
                };
                self.save_one(run, &source)
            });
            match saved {
                Ok(saved) => done.backups.push(saved),
                // All is done again, with snapshots.
                Err(error) if is_disturbed(&error) => return Err(error),
                Err(error) => one.spare(error, done)?,
            }
        }
        Ok(())
    }
}

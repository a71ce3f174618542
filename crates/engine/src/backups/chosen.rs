//! Which volumes a backup is of, and that they stay for as long as it takes.
//!
//! A volume that somebody named has to be there. One that was found, by a label or because all were wanted, may be removed
//! until its turn comes, and is passed over then; what keeps it from being saved keeps no other one.
//!
//! Guarantees: from [`Backups::lease_all`] on no volume of the call is removed; one that is renamed is the same.

use std::collections::BTreeMap;

use store::ErrorKind;
use volumes::{SnapshotError, Volume, VolumeError};

use super::save::{BackedUp, BackupRequest, FailedVolume, REASON, Run};
use super::{BackupError, Backups};
use crate::drill;
use crate::error::{Fault as _, chain};

/// A volume of a call.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// As it was when somebody looked last.
    pub(super) volume: Volume,
    /// Without it nothing is wanted.
    pub(super) named: bool,
}

impl Chosen {
    /// Notes why this one is not saved, so that the others are.
    ///
    /// # Errors
    /// The same error, where the others are not to be saved either.
    pub(super) fn spare(&self, error: BackupError, done: &mut BackedUp) -> Result<(), BackupError> {
        if self.named || !is_of_one(&error) {
            return Err(error);
        }
        let name = self.volume.name.clone();
        let error = match error {
            error @ BackupError::Save { .. } => chain(&error),
            error => format!("volume {name} was not backed up: {}", chain(&error)),
        };
        tracing::warn!(volume = name, error, "the other volumes are backed up");
        done.failed.push(FailedVolume {
            volume: name,
            error,
        });
        Ok(())
    }
}

/// Whether it is the affair of one volume, and neither of the repository nor of the engine.
fn is_of_one(error: &BackupError) -> bool {
    if error.kind() == ErrorKind::Cancelled {
        return false;
    }
    match error {
        BackupError::Save { source, .. } => matches!(
            **source,
            backup::BackupError::Source { .. } | backup::BackupError::Unreadable { .. }
        ),
        BackupError::Snapshot(
            SnapshotError::Store(_) | SnapshotError::Volume(VolumeError::Store(_)),
        )
        | BackupError::Volume(VolumeError::Store(_)) => false,
        BackupError::Io { .. } | BackupError::Snapshot(_) | BackupError::Volume(_) => true,
        _ => false,
    }
}

impl Backups {
    /// The volumes that a request means, by name.
    pub(super) fn chosen(&self, request: &BackupRequest) -> Result<Vec<Chosen>, BackupError> {
        let mut found = request.found.clone();
        if request.all || !request.labels.is_empty() {
            let listed = self.volumes.list()?.into_iter().filter(|volume| {
                // Nobody's data.
                if drill::is_thrown_away(volume) {
                    return false;
                }
                let here = !self.volumes.is_elsewhere(&volume.driver);
                (request.labels.is_empty() && here)
                    || (!request.labels.is_empty()
                        && request.labels.iter().all(|label| volume.has_label(label)))
            });
            found.extend(listed);
        }
        let mut chosen = BTreeMap::new();
        for volume in found {
            let named = false;
            chosen.insert(volume.name.clone(), Chosen { volume, named });
        }
        for name in &request.volumes {
            let (volume, named) = (self.volumes.get(name)?, true);
            chosen.insert(name.clone(), Chosen { volume, named });
        }
        if chosen.is_empty() {
            return Err(nothing(request));
        }
        Ok(chosen.into_values().collect())
    }

    /// Refuses volumes that can only be read as they are, sooner than when it is their turn.
    pub(super) fn check_snapshots(
        &self,
        chosen: &[Chosen],
        request: &BackupRequest,
    ) -> Result<(), BackupError> {
        if request.around.consistency == "none" {
            return Ok(());
        }
        for one in chosen {
            let sharing = self.renamed(&one.volume, |volume| {
                Ok(self.volumes.sharing(&volume.name)?)
            });
            match sharing {
                Ok(Some(_)) => {}
                Ok(None) => return Err(BackupError::NoSnapshot(one.volume.name.clone())),
                Err(error) if one.named => return Err(error),
                // It is looked at again.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Sees to it that the volumes stay until [`Volumes::release`](volumes::Volumes::release); those that are there.
    pub(super) fn lease_all(
        &self,
        run: &Run<'_>,
        chosen: &[Chosen],
    ) -> Result<Vec<Chosen>, BackupError> {
        let wanted: Vec<&Volume> = chosen.iter().map(|one| &one.volume).collect();
        let there = self
            .volumes
            .lease_those_there(&wanted, &run.holder(), REASON)?;
        let mut there = there.into_iter().peekable();
        // One that was looked at under two names is one.
        let mut kept = BTreeMap::new();
        for Chosen { volume, named } in chosen {
            match there.next_if(|now| is_same(now, volume)) {
                Some(volume) => {
                    let one = kept.entry(volume.name.clone()).or_insert(Chosen {
                        volume,
                        named: false,
                    });
                    one.named |= named;
                }
                None if *named => return Err(VolumeError::NotFound(volume.name.clone()).into()),
                None => tracing::info!(volume = volume.name, "removed before its backup"),
            }
        }
        if kept.is_empty() {
            return Err(nothing(run.request));
        }
        Ok(kept.into_values().collect())
    }

    /// Calls `act` with the volume as it is now, and again if it was renamed meanwhile.
    pub(super) fn renamed<T>(
        &self,
        volume: &Volume,
        mut act: impl FnMut(&Volume) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        self.all_renamed(&[volume], |volumes| act(&volumes[0]))
    }

    /// As [`Backups::renamed`], for several at once.
    pub(super) fn all_renamed<T>(
        &self,
        volumes: &[&Volume],
        mut act: impl FnMut(&[Volume]) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let look = || {
            let now = volumes.iter().map(|volume| self.volumes.again(volume));
            now.collect::<Result<Vec<Volume>, _>>()
        };
        let mut now = look()?;
        loop {
            let done = act(&now);
            match &done {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => return done,
            }
            let before = std::mem::replace(&mut now, look()?);
            if before.iter().zip(&now).all(|(a, b)| a.name == b.name) {
                return done;
            }
        }
    }
}

fn is_same(now: &Volume, before: &Volume) -> bool {
    match &before.id {
        Some(_) => now.id == before.id,
        None => now.name == before.name,
    }
}

fn nothing(request: &BackupRequest) -> BackupError {
    if request.labels.is_empty() {
        BackupError::Nothing
    } else {
        BackupError::NoneLabelled(request.labels.join(", "))
    }
}

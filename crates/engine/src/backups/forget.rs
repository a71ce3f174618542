//! `forget` and `prune`: backups that nobody wants any more, and the room that they took.
//!
//! Rules count only backups of volumes that an engine made: what other programs keep in the same repository goes when it is
//! named by id, and never otherwise.

use std::collections::BTreeMap;

use backup::{Backup, PruneOptions, Pruned};
use store::RepositoryRow;

use super::reference::{Which, volume_of};
use super::repositories::of;
use super::retention::{Candidate, Keep};
use super::save::TAG;
use super::watch::Watching;
use super::{BackupError, BackupInfo, Backups, alone, hex};
use crate::cancel::Cancel;
use crate::progress::Progress;

/// Which backups shall go.
#[derive(Debug, Clone, Default)]
pub struct ForgetRequest {
    /// `REPOSITORY[:VOLUME][@WHICH]`: with a `WHICH` that one backup, else what the rules do not keep.
    pub from: String,
    pub keep: Keep,
    /// Only those of this host.
    pub host: Option<String>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Forget nothing, only tell.
    pub dry_run: bool,
    /// Give the room back, too.
    pub prune: bool,
}

/// What went, or would.
#[derive(Debug, Clone, Default)]
pub struct Forgotten {
    pub forgotten: Vec<BackupInfo>,
    pub kept: Vec<BackupInfo>,
    /// Bytes that the repository has shrunk by.
    pub freed: Option<u64>,
}

impl Backups {
    /// Forgets backups.
    ///
    /// # Errors
    /// [`BackupError::NoPolicy`], those of naming and of the repository.
    pub fn forget(
        &self,
        request: &ForgetRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Forgotten, BackupError> {
        let reference = self.reference(&request.from)?;
        let row = &reference.repository;
        if request.keep.is_empty() && reference.which.is_none() {
            return Err(BackupError::NoPolicy);
        }
        let lock = self.lock_of(row);
        let _alone = alone(&lock);
        let opened = self.open_row(row)?;
        // One whose record is damaged may be taken away by its id, and not otherwise.
        let mut lost = None;
        let (going, staying) = match &reference.which {
            Some(which) => match self.one(&request.from, &reference, &opened) {
                Ok(backup) => (vec![backup], Vec::new()),
                Err(BackupError::Record { .. }) if matches!(which, Which::Id(_)) => {
                    lost = Self::readable(&reference, &opened)?.1.pop();
                    (Vec::new(), Vec::new())
                }
                Err(error) => return Err(error),
            },
            None => {
                let mut all = self.fitting(&reference, &opened)?;
                all.retain(|backup| {
                    volume_of(backup).is_some()
                        && backup.tags.iter().any(|tag| tag == TAG)
                        && request
                            .host
                            .as_ref()
                            .is_none_or(|host| *host == backup.host)
                        && request
                            .tag
                            .as_ref()
                            .is_none_or(|tag| backup.tags.contains(tag))
                });
                sorted_out(all, &request.keep)
            }
        };
        let shown = |list: &[Backup]| -> Vec<BackupInfo> {
            list.iter()
                .map(|backup| BackupInfo::of(&row.name, backup))
                .collect()
        };
        let mut done = Forgotten {
            forgotten: shown(&going),
            kept: shown(&staying),
            freed: None,
        };
        done.forgotten
            .extend(lost.map(|id| BackupInfo::unknown(&row.name, id)));
        if request.dry_run {
            return Ok(done);
        }
        let ids: Vec<_> = going.iter().map(|backup| backup.id).chain(lost).collect();
        if !ids.is_empty() {
            opened.forget(&ids).map_err(of(row))?;
            self.store.write(|tx| {
                ids.iter()
                    .try_for_each(|id| tx.forget_volume_backup(&row.id, &hex(*id)))
            })?;
        }
        if request.prune {
            done.freed = Some(Self::prune_opened(row, &opened, progress, cancel)?.bytes_freed);
        }
        Ok(done)
    }

    /// Gives the room back that forgotten and unfinished backups took; the bytes.
    ///
    /// # Errors
    /// Those of naming and of the repository.
    pub fn prune(
        &self,
        repository: Option<&str>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<u64, BackupError> {
        let row = self.pick(repository)?;
        let lock = self.lock_of(&row);
        let _alone = alone(&lock);
        let opened = self.open_row(&row)?;
        Ok(Self::prune_opened(&row, &opened, progress, cancel)?.bytes_freed)
    }

    fn prune_opened(
        row: &RepositoryRow,
        opened: &backup::Repository,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Pruned, BackupError> {
        let watch = Watching::new(&row.name, "Pruning", progress, cancel);
        opened
            .prune(PruneOptions::default(), &watch)
            .map_err(of(row))
    }
}

/// What goes and what stays, by host and volume.
fn sorted_out(all: Vec<Backup>, keep: &Keep) -> (Vec<Backup>, Vec<Backup>) {
    let mut groups: BTreeMap<(String, Vec<String>), Vec<Backup>> = BTreeMap::new();
    for backup in all {
        groups
            .entry((backup.host.clone(), backup.paths.clone()))
            .or_default()
            .push(backup);
    }
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for mut backups in groups.into_values() {
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        let candidates: Vec<Candidate<'_>> = backups
            .iter()
            .map(|backup| Candidate {
                time: backup.time,
                tags: &backup.tags,
            })
            .collect();
        let kept = keep.kept(&candidates);
        for (backup, kept) in backups.into_iter().zip(kept) {
            if kept {
                staying.push(backup);
            } else {
                going.push(backup);
            }
        }
    }
    (going, staying)
}

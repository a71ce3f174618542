//! What is in a repository: lists of backups, what one of them tells, single files.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use backup::{Backup, Entry};

use super::manifest::{CONTAINERS, ContainersManifest, DATA, VOLUME, VolumeManifest, parse};
use super::reference::{Which, volume_of};
use super::repositories::of_backup;
use super::save::{GROUP, TAG};
use super::stack::group_of;
use super::{BackupError, Backups, hex, shared};

/// A backup as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupInfo {
    pub repository: String,
    pub id: String,
    /// RFC 3339: the instant that it shows.
    pub time: String,
    /// `None`: another program saved something that is no volume.
    pub volume: Option<String>,
    pub paths: Vec<String>,
    pub host: String,
    /// Without those that the engine adds.
    pub tags: Vec<String>,
    /// What it has in common with backups of the same instant.
    pub group: Option<String>,
    pub files: Option<u64>,
    pub bytes: Option<u64>,
    /// What the repository has grown by.
    pub stored_bytes: Option<u64>,
    pub program: String,
}

/// All that a backup tells.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupDetail {
    pub info: BackupInfo,
    pub volume: Option<VolumeManifest>,
    pub containers: Option<ContainersManifest>,
}

impl BackupInfo {
    /// One whose record is damaged.
    pub(super) fn unknown(repository: &str, id: backup::Id) -> Self {
        Self {
            repository: repository.to_owned(),
            id: hex(id),
            time: String::new(),
            volume: None,
            paths: Vec::new(),
            host: String::new(),
            tags: Vec::new(),
            group: None,
            files: None,
            bytes: None,
            stored_bytes: None,
            program: String::new(),
        }
    }

    pub(super) fn of(repository: &str, backup: &Backup) -> Self {
        Self {
            repository: repository.to_owned(),
            id: hex(backup.id),
            time: backup.time.to_string(),
            volume: volume_of(backup).map(str::to_owned),
            paths: backup.paths.clone(),
            host: backup.host.clone(),
            tags: backup
                .tags
                .iter()
                .filter(|tag| *tag != TAG && !tag.starts_with(GROUP))
                .cloned()
                .collect(),
            group: group_of(backup).map(str::to_owned),
            files: backup.files,
            bytes: backup.bytes,
            stored_bytes: backup.stored_bytes,
            program: backup.program.clone(),
        }
    }
}

impl Backups {
    /// The backups that `REPOSITORY[:VOLUME][@WHICH]` means, oldest first, and a sentence for each whose record is damaged.
    ///
    /// # Errors
    /// Those of naming and of the repository.
    pub fn list(&self, text: &str) -> Result<(Vec<BackupInfo>, Vec<String>), BackupError> {
        let reference = self.reference(text)?;
        let opened = self.open_row(&reference.repository)?;
        let (mut fitting, damaged) = Self::readable(&reference, &opened)?;
        if reference.which == Some(Which::Latest) {
            fitting = latest_of_each(fitting);
        }
        let name = &reference.repository.name;
        let infos = fitting.iter().map(|backup| BackupInfo::of(name, backup));
        let warnings = damaged.into_iter().map(|id| {
            format!(
                "the record of backup {id} in repository {name} is damaged: it cannot be restored; orlop backup forget \
                 {name}:@{id} takes it away"
            )
        });
        Ok((infos.collect(), warnings.collect()))
    }

    /// Everything that one backup tells.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`] and those of the repository.
    pub fn show(&self, text: &str) -> Result<BackupDetail, BackupError> {
        let reference = self.reference(text)?;
        let row = &reference.repository;
        let lock = self.lock_of(row);
        let _shared = shared(&lock);
        let opened = self.open_row(row)?;
        let backup = self.one(text, &reference, &opened)?;
        let found = Self::found(row, &opened, backup)?;
        let top = found.backup.paths.first().cloned().unwrap_or_default();
        let mut text = Vec::new();
        let containers = if found.manifest.is_none() {
            None
        } else {
            let path = format!("{top}/{CONTAINERS}");
            match opened.cat(found.backup.id, Path::new(&path), &mut text) {
                Ok(()) => Some(parse("containers", &text)?),
                Err(backup::BackupError::NoPath { .. }) => None,
                Err(error) => return Err(of_backup(row, &found.backup)(error)),
            }
        };
        Ok(BackupDetail {
            info: BackupInfo::of(&row.name, &found.backup),
            volume: found.manifest,
            containers,
        })
    }

    /// Calls `act`, which reads from the repository that `text` names, while this engine takes nothing from it.
    ///
    /// # Errors
    /// Those of naming.
    pub(crate) fn while_all_stays<T>(
        &self,
        text: &str,
        act: impl FnOnce() -> T,
    ) -> Result<T, BackupError> {
        let lock = self.lock_of(&self.reference(text)?.repository);
        let _shared = shared(&lock);
        Ok(act())
    }

    /// Tells of the files in a directory of a backup, by paths below the volume's root; all below it if `recursive`. It is not
    /// waited for by who takes something from the repository, as `each` may take as long as it likes: see
    /// [`Backups::while_all_stays`].
    ///
    /// # Errors
    /// Those of [`Backups::show`]; no such directory.
    pub fn files(
        &self,
        text: &str,
        path: &str,
        recursive: bool,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), BackupError> {
        let reference = self.reference(text)?;
        let row = &reference.repository;
        let opened = self.open_row(row)?;
        let backup = self.one(text, &reference, &opened)?;
        let found = Self::found(row, &opened, backup)?;
        let below = below(&found.root, path);
        let mut told = |entry: Entry| {
            let path = entry.path.strip_prefix(&found.root);
            let path = path.map_or_else(|_| entry.path.clone(), Path::to_owned);
            each(Entry { path, ..entry })
        };
        opened
            .list(found.backup.id, Path::new(&below), recursive, &mut told)
            .map_err(of_backup(row, &found.backup))
    }

    /// Writes one file of a backup. As with [`Backups::files`] nobody waits for it.
    ///
    /// # Errors
    /// Those of [`Backups::show`]; it is no file; `to` cannot be written.
    pub fn cat(&self, text: &str, path: &str, to: &mut dyn Write) -> Result<(), BackupError> {
        let reference = self.reference(text)?;
        let row = &reference.repository;
        let opened = self.open_row(row)?;
        let backup = self.one(text, &reference, &opened)?;
        let found = Self::found(row, &opened, backup)?;
        // What is known of a volume stands beside its files.
        let path = match path.trim_matches('/') {
            name @ (VOLUME | CONTAINERS) if found.manifest.is_some() => {
                let top = found.root.strip_suffix(DATA).unwrap_or(&found.root);
                let beside = format!("{top}{name}");
                let inside = below(&found.root, path);
                match opened.cat(found.backup.id, Path::new(&inside), to) {
                    Err(backup::BackupError::NoPath { .. }) => beside,
                    other => return other.map_err(of_backup(row, &found.backup)),
                }
            }
            _ => below(&found.root, path),
        };
        opened
            .cat(found.backup.id, Path::new(&path), to)
            .map_err(of_backup(row, &found.backup))
    }
}

/// The newest backup of each host and path.
fn latest_of_each(backups: Vec<Backup>) -> Vec<Backup> {
    let mut seen = std::collections::BTreeSet::new();
    let mut latest: Vec<Backup> = backups
        .into_iter()
        .rev()
        .filter(|backup| seen.insert((backup.host.clone(), backup.paths.clone())))
        .collect();
    latest.reverse();
    latest
}

fn below(root: &str, path: &str) -> String {
    match path.trim_matches('/') {
        "" => root.to_owned(),
        path => format!("{}/{path}", root.trim_end_matches('/')),
    }
}

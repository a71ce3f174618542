//! The record of a backup, which restic calls a snapshot.

use jiff::Timestamp;
use rustic_core::Id;
use serde::{Deserialize, Deserializer, Serialize};

/// The file as it is in the repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Id>,
    pub(crate) tree: Id,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) paths: Vec<String>,
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) uid: u32,
    #[serde(default)]
    pub(crate) gid: u32,
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub(crate) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) program_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
}

/// What restic has here since 0.17; other programs leave it out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) backup_start: Timestamp,
    pub(crate) backup_end: Timestamp,
    pub(crate) files_new: u64,
    pub(crate) files_changed: u64,
    pub(crate) files_unmodified: u64,
    pub(crate) dirs_new: u64,
    pub(crate) dirs_changed: u64,
    pub(crate) dirs_unmodified: u64,
    pub(crate) data_blobs: u64,
    pub(crate) tree_blobs: u64,
    pub(crate) data_added: u64,
    pub(crate) data_added_packed: u64,
    pub(crate) total_files_processed: u64,
    pub(crate) total_bytes_processed: u64,
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A backup of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub id: Id,
    /// When the data was as it is in the backup.
    pub time: Timestamp,
    pub host: String,
    /// What was saved, as it is called in the backup; backups that others made may have several.
    pub paths: Vec<String>,
    pub tags: Vec<String>,
    pub description: Option<String>,
    pub tree: Id,
    pub parent: Option<Id>,
    /// `None` where the program that made it did not say.
    pub files: Option<u64>,
    pub bytes: Option<u64>,
    /// What the backup added to the repository, compressed.
    pub stored_bytes: Option<u64>,
    /// Which program made it; empty where it did not say.
    pub program: String,
}

impl Backup {
    pub(crate) fn of(id: Id, snapshot: Snapshot) -> Self {
        let summary = snapshot.summary;
        Self {
            id,
            time: snapshot.time,
            host: snapshot.hostname,
            paths: snapshot.paths,
            tags: snapshot.tags,
            description: snapshot.description,
            tree: snapshot.tree,
            parent: snapshot.parent,
            files: summary.as_ref().map(|it| it.total_files_processed),
            bytes: summary.as_ref().map(|it| it.total_bytes_processed),
            stored_bytes: summary.as_ref().map(|it| it.data_added_packed),
            program: snapshot.program_version,
        }
    }
}

//! What can go wrong with a repository, in words that name it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::location::LocationError;
use crate::place::PlaceError;

/// Why something with a repository failed.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error("there is no repository in {place}")]
    NoRepository { place: String },
    #[error("there is a repository in {place} already")]
    Exists { place: String },
    #[error("wrong password for the repository in {place}")]
    WrongPassword { place: String },
    /// A kept key does not open it: it belongs to another repository, or was damaged.
    #[error(
        "the key does not open the repository in {place}: it is another one now, or its config is damaged"
    )]
    WrongKey { place: String },
    #[error("the repository in {place} has version {version}, which is not known here")]
    Version { place: String, version: u32 },
    #[error("the repository in {place} takes additions only")]
    AppendOnly { place: String },
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The place says that it has it, and it is not what was written.
    #[error("{what} of the repository in {place} is damaged")]
    Damaged { place: String, what: String },
    #[error(
        "the repository in {place} cannot be pruned: {what}, and backup {backup:.8} needs it; forget that one first"
    )]
    StillNeeded {
        place: String,
        what: String,
        backup: String,
    },
    #[error("the repository in {place} is in use: {by}")]
    Locked { place: String, by: String },
    /// Somebody removed our lock, or it could not be renewed in time: what others did meanwhile is not known.
    #[error("the lock on the repository in {place} was lost")]
    LockLost { place: String },
    #[error("no backup {text} in {place}")]
    NoBackup { place: String, text: String },
    #[error("several backups in {place} begin with {text}")]
    Ambiguous { place: String, text: String },
    #[error("no {path} in backup {backup}")]
    NoPath { backup: String, path: String },
    #[error("{path} in backup {backup} is not a file")]
    NotAFile { backup: String, path: String },
    #[error("no key {text} in {place}")]
    NoKey { place: String, text: String },
    #[error("the last key of the repository in {place} cannot be removed")]
    LastKey { place: String },
    #[error("{name:?} cannot be the name of a file beside the data")]
    ExtraName { name: String },
    #[error("the path of a backup must be absolute and of plain names: {path}")]
    Path { path: String },
    #[error("cannot read {path}")]
    Source {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nothing was recorded as a backup; what could be read is stored and need not be stored again.
    #[error("{count} of the files cannot be read, the first is {path}: no backup was made")]
    Unreadable {
        count: usize,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody wrote to the source while it was read; nothing was recorded as a backup.
    #[error("{path} was changed while it was read: no backup was made")]
    Touched { path: PathBuf },
    #[error("cannot restore {path}")]
    Target {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A tree has a name that is no name of a file; nothing was made for it.
    #[error("backup {backup} has an entry that cannot be a file: {name}")]
    Hostile { backup: String, name: String },
    #[error("cannot write what was read from {path}")]
    Output {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the cache in {path}")]
    Cache {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("threads cannot be started")]
    Threads(#[source] io::Error),
    #[error("stopped")]
    Stopped,
    #[error("{action} failed in the repository in {place}")]
    Format {
        place: String,
        action: &'static str,
        #[source]
        source: FormatError,
    },
}

impl BackupError {
    /// Whether something of the repository is not there, or is not what was written. Trying again does not help, having it
    /// from elsewhere does.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Place(error) => error.is_loss(),
            _ => false,
        }
    }
}

/// What the library for restic's format said, in one line.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FormatError(String);

impl FormatError {
    pub(crate) fn new(error: &rustic_core::RusticError) -> Self {
        let text = error.display_log();
        let text = text.strip_prefix("Error: ").unwrap_or(&text);
        Self(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

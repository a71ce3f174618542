//! The files of a repository and where they are kept: what every kind of place must be able to do.
//!
//! A place knows nothing of what is in the files. Their names are those of restic's format, so that another tool finds them.

use std::fmt;
use std::io;

use bytes::Bytes;
use rustic_core::Id;
use thiserror::Error;

/// What a file of a repository is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Config,
    Key,
    Lock,
    Snapshot,
    Index,
    Pack,
}

impl Kind {
    /// Those that have directories of their own.
    pub(crate) const DIRECTORIES: [Self; 5] = [
        Self::Key,
        Self::Lock,
        Self::Snapshot,
        Self::Index,
        Self::Pack,
    ];

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Pack => "pack",
        })
    }
}

/// A file of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    /// The SHA-256 of the file; nothing for the configuration.
    pub(crate) id: Id,
}

impl Name {
    pub(crate) const fn new(kind: Kind, id: Id) -> Self {
        Self { kind, id }
    }

    pub(crate) fn config() -> Self {
        Self::new(Kind::Config, Id::default())
    }

    /// Below the repository's directory: packs are spread over 256 directories.
    pub(crate) fn path(self) -> String {
        let hex = self.id.to_hex();
        let hex = hex.as_str();
        match self.kind {
            Kind::Config => "config".to_owned(),
            Kind::Pack => format!("data/{}/{hex}", &hex[..2]),
            kind => format!("{}/{hex}", kind.directory()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Config => f.write_str("config"),
            kind => write!(f, "{kind} {}", self.id.to_hex().as_str()),
        }
    }
}

/// Why a place did not do what it was asked to. Every one names the place.
#[derive(Debug, Error)]
pub enum PlaceError {
    #[error("{place} has no {file}")]
    Missing { place: String, file: String },
    #[error("{place} refuses access: {answer}")]
    Refused { place: String, answer: String },
    /// Resets, timeouts, names that do not resolve; and programs that could not be talked to.
    #[error("{place} cannot be reached")]
    Unreachable {
        place: String,
        #[source]
        source: io::Error,
    },
    #[error("{place} answered {status} for {file}: {detail}")]
    Answer {
        place: String,
        file: String,
        status: u16,
        detail: String,
    },
    #[error("{place} gave {got} bytes of {file} instead of {wanted}")]
    Short {
        place: String,
        file: String,
        got: u64,
        wanted: u64,
    },
    #[error("{place} said something about {file} that is not understood: {detail}")]
    Nonsense {
        place: String,
        file: String,
        detail: String,
    },
    /// What its owner said about it cannot be.
    #[error("{place} cannot be used: {what}")]
    Setting { place: String, what: &'static str },
    #[error("cannot {action} {file} of {place}")]
    File {
        place: String,
        file: String,
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

impl PlaceError {
    /// Whether the same request may succeed a moment later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Short { .. } => true,
            Self::Answer { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            Self::Missing { .. }
            | Self::Refused { .. }
            | Self::Nonsense { .. }
            | Self::Setting { .. }
            | Self::File { .. } => false,
        }
    }

    /// Whether a file is not there, or not all of it.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Short { .. } => true,
            Self::File { source, .. } => source.kind() == io::ErrorKind::UnexpectedEof,
            _ => false,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// Where the files of one repository are. Requests block; several threads may make them at once.
pub(crate) trait Storage: Send + Sync + fmt::Debug {
    /// As it may be shown to people, without secrets.
    fn shown(&self) -> String;

    /// Makes the directories of a new repository, where the place has directories.
    fn prepare(&self) -> Result<(), PlaceError>;

    /// Everything of one kind with its size; whatever has another name than an id is not of the repository. A directory that
    /// is not there is empty.
    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError>;

    fn read(&self, name: Name) -> Result<Bytes, PlaceError>;

    /// Exactly `length` bytes from `offset`.
    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError>;

    /// A file that is small and will be wanted again, such as a pack of trees: a cache keeps the whole of it.
    fn read_part_of_kept(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        self.read_part(name, offset, length)
    }

    /// The file is complete and durable when this returns, and not there at all if it fails or the process dies.
    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError>;

    /// [`Storage::write`] of something that [`Storage::read_part_of_kept`] will read.
    fn write_kept(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        self.write(name, bytes)
    }

    /// That it is gone already is fine.
    fn remove(&self, name: Name) -> Result<(), PlaceError>;

    /// A cache shall not have the file any more: it is not the same in the place itself.
    fn doubt(&self, _: Name) {}

    /// Removes what writers that were killed left behind. Called while nobody else writes.
    fn sweep(&self) -> Result<(), PlaceError> {
        Ok(())
    }
}

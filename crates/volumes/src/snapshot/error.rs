//! Why a verb on a snapshot failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use store::names::NameError;
use store::{ErrorKind, StoreError};

use crate::VolumeError;
use crate::driver::DriverError;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("no such snapshot: {volume}@{name}")]
    NotFound { volume: String, name: String },
    #[error("{0:?} names no snapshot: write VOLUME@SNAPSHOT")]
    Reference(String),
    #[error("invalid snapshot name {0:?}: {rule}", rule = store::names::RULE)]
    Name(String),
    #[error("volume {volume} has a snapshot {name} already")]
    Taken { volume: String, name: String },
    /// Its content is what a `device` option names or a plugin keeps, which is not ours to turn back.
    #[error(
        "the bytes of volume {0} are elsewhere (option device, or a volume plugin): it can have no snapshots"
    )]
    Elsewhere(String),
    #[error("snapshot {volume}@{name} is in use - [{}]", holders.join(", "))]
    InUse {
        volume: String,
        name: String,
        holders: Vec<String>,
    },
    #[error("volume {0} was never restored: there is nothing to undo")]
    NothingToUndo(String),
    /// It is completed at the next start.
    #[error(
        "an earlier restore of volume {0} is unfinished: the next start of the engine completes it"
    )]
    Unfinished(String),
    #[error("create {name}: {reason}")]
    VolumeName { name: String, reason: NameError },
    #[error("volume {0} exists already")]
    Exists(String),
    #[error("no volume is named")]
    Nothing,
    #[error("volume {0} is named twice")]
    Twice(String),
    #[error("{0}")]
    Policy(String),
    #[error("volume {0} has no schedule")]
    NoSchedule(String),
    #[error("those who write to the volume could not be held still")]
    Quiet(#[source] Box<dyn Error + Send + Sync>),
    #[error("it was cancelled")]
    Cancelled,
    #[error("cannot compare {}", path.display())]
    Compare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SnapshotError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NothingToUndo(_) | Self::NoSchedule(_) => {
                ErrorKind::NotFound
            }
            Self::Reference(_)
            | Self::Name(_)
            | Self::VolumeName { .. }
            | Self::Nothing
            | Self::Twice(_)
            | Self::Policy(_) => ErrorKind::Invalid,
            Self::Taken { .. } | Self::Exists(_) | Self::Unfinished(_) => ErrorKind::Conflict,
            Self::Elsewhere(_) => ErrorKind::Unsupported,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Quiet(_) => ErrorKind::Internal,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Compare { source, .. } | Self::Io { source, .. } => ErrorKind::from(source),
            Self::Driver(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

//! Why a verb on a volume failed, in Docker's words where Docker has some.

use std::io;
use std::path::PathBuf;

use store::names::{NameError, check_volume_name};
use store::{ErrorKind, StoreError};

use volume_plugins::PluginError;

use crate::driver::DriverError;
use crate::snapshot::diff::Uncompared;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("get {0}: no such volume")]
    NotFound(String),
    #[error("volume {0}: it was cancelled")]
    Cancelled(String),
    #[error("create {name}: {reason}")]
    Name { name: String, reason: NameError },
    #[error(
        "create {name}: driver '{driver}' already has volume '{name}': volume name must be unique"
    )]
    DriverConflict { name: String, driver: String },
    /// A plugin has no such rule as the local driver.
    #[error("create {name:?}: a volume's name has at most 255 bytes and no control characters")]
    PluginName { name: String },
    /// What a plugin says, or that it says nothing.
    #[error("{verb} {name}: {reason}")]
    Plugin {
        verb: &'static str,
        name: String,
        reason: Box<PluginError>,
    },
    #[error(
        "get {name}: error while checking if volume \"{name}\" exists in driver \"{driver}\": {reason}"
    )]
    Unchecked {
        name: String,
        driver: String,
        reason: Box<PluginError>,
    },
    #[error(
        "create {name}: found reference to volume '{name}' in driver '{driver}', but got an error while checking the \
         driver: error while checking if volume \"{name}\" exists in driver \"{driver}\": {reason}: volume name must be \
         unique"
    )]
    Reference {
        name: String,
        driver: String,
        reason: Box<PluginError>,
    },
    #[error(
        "create {name}: found references to volume '{name}' in driver '{driver}' but the volume was not found in the \
         driver -- you may need to remove containers referencing this volume or force remove the volume to re-create it: \
         volume name must be unique"
    )]
    Vanished { name: String, driver: String },
    /// It needs bytes that are kept here.
    #[error("volume {name} is kept by volume plugin {driver} and cannot be {what}")]
    Elsewhere {
        name: String,
        driver: String,
        what: &'static str,
    },
    #[error("volume {name} is not mounted by volume plugin {driver}")]
    NotMounted { name: String, driver: String },
    #[error("create {name}: {reason}")]
    Options { name: String, reason: DriverError },
    /// A create of this name could neither be completed nor undone; it waits for the next start.
    #[error("create {0}: an earlier create of this volume is unfinished")]
    Unfinished(String),
    #[error("remove {name}: volume is in use - [{}]", holders.join(", "))]
    InUse { name: String, holders: Vec<String> },
    #[error("remove {0}: volume has active mounts")]
    ActiveMounts(String),
    #[error("error while mounting volume '{}': {reason}", path.display())]
    Mount { path: PathBuf, reason: DriverError },
    #[error("error while unmounting volume '{}': {reason}", path.display())]
    Unmount { path: PathBuf, reason: DriverError },
    /// The record is there, the directory is not. The record stays.
    #[error("volume {name} has no data directory at {}", path.display())]
    Unavailable { name: String, path: PathBuf },
    /// The record is there, the pool is not. The record stays.
    #[error("volume {name} is unavailable: its pool {pool} is not there")]
    PoolDown { name: String, pool: String },
    #[error("create {name}: {reason}")]
    Pool {
        name: String,
        reason: Box<crate::pool::PoolError>,
    },
    #[error("resize {name}: {reason}")]
    Resize { name: String, reason: DriverError },
    #[error("a prune operation is already running")]
    PruneRunning,
    #[error("volume {0} is protected; unprotect it first")]
    Protected(String),
    #[error("no volume {0} is in the trash")]
    NotInTrash(String),
    /// A record has it, or there is nothing.
    #[error("{0} is not a directory of data that no volume has")]
    NotOrphan(String),
    #[error("cannot adopt {}: {why}", path.display())]
    NotAdoptable { path: PathBuf, why: String },
    #[error("a volume named {0} exists already")]
    NameTaken(String),
    #[error("volume {0} is arriving from elsewhere already")]
    Arriving(String),
    #[error("what comes with volume {0} cannot be understood by this version")]
    Luggage(String),
    #[error("no volume {0} is arriving")]
    NotArriving(String),
    #[error(
        "a part of another volume has arrived as {0}: send that to its end, or give it up with orlop volume receiving rm {0}"
    )]
    OtherArrival(String),
    /// `holder` is an opaque id.
    #[error("volume {name} has one writer at a time, and {holder} is writing to it")]
    Exclusive { name: String, holder: String },
    #[error("no such snapshot: {0}")]
    NoSnapshot(String),
    #[error("a snapshot can only be read: {0}")]
    OfSnapshot(String),
    #[error("cannot open {subpath} in volume {name}")]
    Subpath {
        name: String,
        subpath: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot fill volume {name}")]
    Populate {
        name: String,
        #[source]
        source: sys::copy_tree::CopyError,
    },
    /// Whoever writes the content of a volume that is being made could not.
    #[error("volume {name} is not restored")]
    Received {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot compare {} of volume {name}", path.display())]
    Compare {
        name: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot import into volume {name}")]
    Import {
        name: String,
        #[source]
        source: archive::UnpackError,
    },
    #[error("cannot read the archive for volume {name}")]
    Compression {
        name: String,
        #[source]
        source: archive::CompressionError,
    },
    /// The new contents were complete, but could not all be moved into place.
    #[error("volume {name} has been filled only in part")]
    Merge {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot export volume {name}")]
    Export {
        name: String,
        #[source]
        source: archive::PackError,
    },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VolumeError {
    /// Refuses what cannot be a volume's name.
    pub(crate) fn check_name(name: &str) -> Result<(), Self> {
        check_volume_name(name).map_err(|reason| Self::Name {
            name: name.to_owned(),
            reason,
        })
    }

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

    pub(crate) fn uncompared(name: &str, error: Uncompared) -> Self {
        match error {
            Uncompared::Failed { path, source } => Self::Compare {
                name: name.to_owned(),
                path,
                source,
            },
            Uncompared::Stopped => Self::Cancelled(name.to_owned()),
        }
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::NotFound(_)
            | Self::NoSnapshot(_)
            | Self::NotInTrash(_)
            | Self::NotOrphan(_)
            | Self::NotArriving(_) => ErrorKind::NotFound,
            Self::Arriving(_)
            | Self::OtherArrival(_)
            | Self::Protected(_)
            | Self::NameTaken(_)
            | Self::Exclusive { .. } => ErrorKind::Conflict,
            Self::Luggage(_)
            | Self::NotAdoptable { .. }
            | Self::Name { .. }
            | Self::PluginName { .. }
            | Self::Elsewhere { .. } => ErrorKind::Invalid,
            Self::Plugin { reason, .. } if reason.is_missing() => ErrorKind::NotFound,
            Self::Plugin { .. } | Self::Unchecked { .. } => ErrorKind::Internal,
            Self::NotMounted { .. } => ErrorKind::Unavailable,
            Self::Options { reason, .. } => reason.kind(),
            Self::DriverConflict { .. }
            | Self::Reference { .. }
            | Self::Vanished { .. }
            | Self::PruneRunning
            | Self::Unfinished(_) => ErrorKind::Conflict,
            Self::InUse { .. } => ErrorKind::InUse,
            // Docker answers 500 here, and clients that retry on 409 would retry in vain.
            Self::ActiveMounts(_) => ErrorKind::Internal,
            Self::Mount { .. } | Self::Unmount { .. } => ErrorKind::Internal,
            Self::Unavailable { .. } | Self::PoolDown { .. } => ErrorKind::Unavailable,
            Self::Pool { reason, .. } => reason.kind(),
            Self::Resize { reason, .. } => reason.kind(),
            Self::Subpath { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Subpath { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::InvalidInput
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                ErrorKind::Invalid
            }
            Self::Subpath { source, .. }
            | Self::Io { source, .. }
            | Self::Merge { source, .. }
            | Self::Compare { source, .. } => ErrorKind::from(source),
            Self::Received { source, .. } => kind_of_cause(source.as_ref()),
            Self::Compression { .. } | Self::OfSnapshot(_) => ErrorKind::Invalid,
            Self::Populate { source, .. } => kind_of_cause(source),
            Self::Import { source, .. } => match kind_of_cause(source) {
                // What is not the host's fault is the archive's.
                ErrorKind::Internal => ErrorKind::Invalid,
                kind => kind,
            },
            Self::Export { source, .. } => kind_of_cause(source),
            Self::Store(error) => error.kind(),
        }
    }
}

/// The kind of the first I/O error below `error`.
fn kind_of_cause(error: &(dyn std::error::Error + 'static)) -> ErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return ErrorKind::from(error);
        }
        cause = error.source();
    }
    ErrorKind::Internal
}

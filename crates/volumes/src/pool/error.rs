//! Why a verb on a pool failed.

use std::io;
use std::path::PathBuf;

use store::{ErrorKind, StoreError};

use crate::driver::DriverError;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("get {0}: no such pool")]
    NotFound(String),
    #[error("invalid pool name {0:?}: {rule}", rule = store::names::RULE)]
    Name(String),
    #[error("a pool named {0} exists already")]
    Taken(String),
    #[error("unknown kind of pool: '{0}' (there are dir and btrfs)")]
    Kind(String),
    #[error("a pool of kind {kind} needs {needs}")]
    Needs {
        kind: &'static str,
        needs: &'static str,
    },
    #[error("{0} makes no sense for this pool")]
    Senseless(&'static str),
    #[error("{} is not an absolute path", .0.display())]
    Relative(PathBuf),
    #[error("directory {} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} is neither a directory nor a block device", .0.display())]
    NoPlace(PathBuf),
    #[error("directory {} is not on a btrfs", .0.display())]
    NotBtrfs(PathBuf),
    #[error("there is no btrfs on {}: --format makes one", .0.display())]
    NoFilesystem(PathBuf),
    /// Also what the program says that looked.
    #[error("{} is in use or holds something, which --force would destroy: {said}", device.display())]
    Holds { device: PathBuf, said: String },
    #[error("{} is a pool already: {name}", path.display())]
    IsPool { path: PathBuf, name: String },
    #[error("remove {name}: pool is in use - [{}]", volumes.join(", "))]
    InUse { name: String, volumes: Vec<String> },
    #[error("remove {0}: it is where new volumes go (pool default)")]
    IsDefault(String),
    #[error("{0} is the state directory")]
    StateDirectory(String),
    #[error("pool {name} is not there: {why}")]
    Down { name: String, why: String },
    #[error("only a pool with a file or a device of its own can be resized, and {0} has none")]
    NoSize(String),
    #[error("pool {0} is on several devices: `btrfs filesystem resize` takes one of them")]
    SeveralDevices(String),
    #[error("its device has {most} bytes, which is less than {wanted}")]
    TooLarge { most: u64, wanted: u64 },
    #[error("{used} bytes are in use, which do not fit into {wanted}")]
    TooFull { used: u64, wanted: u64 },
    #[error("a pool needs at least {0} bytes")]
    TooSmall(u64),
    #[error("{program} failed: {said}")]
    Program { program: &'static str, said: String },
    #[error("{0} is not installed: it comes with btrfs-progs")]
    NoProgram(&'static str),
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
    Store(#[from] StoreError),
}

impl PoolError {
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
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Name(_)
            | Self::Kind(_)
            | Self::Needs { .. }
            | Self::Senseless(_)
            | Self::Relative(_)
            | Self::NoPlace(_)
            | Self::NotBtrfs(_)
            | Self::NoFilesystem(_)
            | Self::StateDirectory(_)
            | Self::NoSize(_)
            | Self::SeveralDevices(_)
            | Self::TooLarge { .. }
            | Self::TooSmall(_)
            | Self::NoProgram(_) => ErrorKind::Invalid,
            Self::Taken(_)
            | Self::NotEmpty(_)
            | Self::Holds { .. }
            | Self::IsPool { .. }
            | Self::IsDefault(_)
            | Self::TooFull { .. } => ErrorKind::Conflict,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Down { .. } => ErrorKind::Unavailable,
            Self::Program { .. } => ErrorKind::Internal,
            Self::Io { source, .. } => ErrorKind::from(source),
            Self::Driver(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

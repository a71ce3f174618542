//! Why a drill did not prove its volume.

use std::io;

use store::{ErrorKind, StoreError};

use crate::backups::BackupError;
use crate::containers::ContainerError;
use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error("unknown recipe {0:?}: it is {names}", names = super::recipe::NAMES)]
    Recipe(String),
    #[error("no image is named to run the check in, and the backup tells of no container")]
    NoImage,
    #[error("the restored {path:?} {how}")]
    Differs { path: String, how: String },
    #[error("the restored volume has {found} entries, the backup {expected}")]
    Count { found: u64, expected: u64 },
    #[error("cannot read the restored volume")]
    Read(#[source] io::Error),
    #[error("the check ended with {code}: {said}")]
    Check { code: i32, said: String },
    #[error("the check did not end within {seconds} seconds and was killed: {said}")]
    Late { seconds: u64, said: String },
    #[error("it was cancelled")]
    Cancelled,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for DrillError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Recipe(_) | Self::NoImage => ErrorKind::Invalid,
            Self::Differs { .. } | Self::Count { .. } => ErrorKind::Corrupt,
            Self::Read(source) => ErrorKind::from(source),
            Self::Check { .. } | Self::Late { .. } => ErrorKind::Internal,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Backup(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

//! Why a volume did not travel.

use std::io::ErrorKind;

use transfer::TransferError;
use volumes::{SnapshotError, VolumeError};

use crate::containers::ContainerError;
use crate::error::Fault;
use crate::images::ImageError;
use crate::snapshot::TurnBackError;

#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    #[error(
        "volume {volume} is used by running containers: {}; stop them, or let --stop do it when nearly everything is there",
        containers.join(", ")
    )]
    Running {
        volume: String,
        containers: Vec<String>,
    },
    #[error("a snapshot cannot be moved: copy it")]
    SnapshotMoves,
    #[error("{0} is no volume: images are pulled with orlop pull")]
    NoVolume(String),
    #[error("a layer cannot be read")]
    Compression(#[source] archive::CompressionError),
    #[error("a layer cannot be unpacked")]
    Unpack(#[source] archive::UnpackError),
    #[error("what comes with the volume cannot be read")]
    Luggage(#[source] serde_json::Error),
    #[error(
        "volume {0} arrived before, and was changed since: its source was not let go; remove it yourself"
    )]
    ChangedSince(String),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    TurnBack(#[from] TurnBackError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("cannot {action}")]
    Io {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl TravelError {
    /// Whether the other side knows already: it said so itself, or it is what hung up.
    pub(super) fn is_told(&self) -> bool {
        match self {
            Self::Transfer(TransferError::Peer(_)) => true,
            Self::Transfer(TransferError::Broken(error)) => matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            _ => false,
        }
    }
}

impl Fault for TravelError {
    fn kind(&self) -> store::ErrorKind {
        match self {
            Self::Running { .. } | Self::ChangedSince(_) => store::ErrorKind::Conflict,
            Self::SnapshotMoves
            | Self::Luggage(_)
            | Self::NoVolume(_)
            | Self::Compression(_)
            | Self::Unpack(_) => store::ErrorKind::Invalid,
            Self::Image(error) => error.kind(),
            Self::Transfer(_) => store::ErrorKind::Internal,
            Self::Snapshot(error) => error.kind(),
            Self::TurnBack(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Io { source, .. } => store::ErrorKind::from(source),
        }
    }
}

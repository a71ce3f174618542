//! Why a volume did not travel.

use store::ErrorKind;
use transfer::TransferError;
use volumes::{SnapshotError, VolumeError};

use crate::containers::ContainerError;
use crate::error::Fault;
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
    Container(#[from] ContainerError),
    #[error("cannot {action}")]
    Io {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl TravelError {
    /// Whether the other side knows already, because it said so itself.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::Transfer(TransferError::Peer(_)))
    }
}

impl Fault for TravelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Running { .. } | Self::ChangedSince(_) => ErrorKind::Conflict,
            Self::SnapshotMoves | Self::Luggage(_) => ErrorKind::Invalid,
            Self::Transfer(_) => ErrorKind::Internal,
            Self::Snapshot(error) => error.kind(),
            Self::TurnBack(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Io { source, .. } => ErrorKind::from(source),
        }
    }
}

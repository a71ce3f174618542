//! Why volumes could not be backed up, or backups not be read.

use std::io;
use std::path::PathBuf;

use store::ErrorKind;

use crate::containers::ContainerError;
use crate::error::Fault;
use crate::images::ImageError;
use crate::network::NetworkError;
use crate::snapshot::TurnBackError;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("no such repository: {0}")]
    NoSuchRepository(String),
    #[error(
        "the repository in {0} has no name here: orlop backup add NAME {0} gives it one, and orlop backup init makes it first"
    )]
    Unnamed(String),
    #[error(
        "no repository is named, and none is the default: add one with orlop backup init or add"
    )]
    NoRepository,
    #[error("invalid repository name {0:?}: {rule}", rule = store::names::RULE)]
    RepositoryName(String),
    #[error("a repository named {0} exists already")]
    RepositoryTaken(String),
    #[error("repository {name}: {reason}")]
    Location {
        name: String,
        reason: backup::LocationError,
    },
    #[error("repository {name} is locked: orlop backup unlock {name} takes its password")]
    Locked { name: String },
    #[error("repository {name} is another one now: its id was {was} and is {is}")]
    Exchanged {
        name: String,
        was: String,
        is: String,
    },
    #[error(
        "{0:?} names no backup: write REPOSITORY:VOLUME, and after it @latest, @TIME or @ID for another one than the newest"
    )]
    Reference(String),
    #[error("repository {repository} has no backup {what}")]
    NoBackup { repository: String, what: String },
    #[error("repository {repository} has several backups whose ids begin with {id}")]
    Ambiguous { repository: String, id: String },
    #[error("no volume is named")]
    Nothing,
    #[error("no volume has these labels: {0}")]
    NoneLabelled(String),
    /// Its bytes are elsewhere.
    #[error(
        "volume {0} can have no snapshot (option device, or a volume plugin): with consistency none it is read as it is, \
         while others may write to it"
    )]
    NoSnapshot(String),
    #[error("repository {name}")]
    Repository {
        name: String,
        #[source]
        source: Box<backup::BackupError>,
    },
    /// What shall be read of it is lost.
    #[error("{what} in repository {repository} cannot be read")]
    Unreadable {
        /// `backup ID of volume NAME`.
        what: String,
        repository: String,
        #[source]
        source: Box<backup::BackupError>,
    },
    /// Nothing is known of it but its id.
    #[error(
        "the record of backup {id:.8} in repository {repository} is damaged: it cannot be read any more"
    )]
    Record { repository: String, id: String },
    #[error(
        "the record of backup {id:.8} in repository {repository} is damaged, so that it is not known which one is the newest: \
         name one as {repository}:@ID, or take it away with orlop backup forget {repository}:@{id:.8}"
    )]
    Records { repository: String, id: String },
    #[error("volume {volume} was not backed up to repository {repository}")]
    Save {
        volume: String,
        repository: String,
        #[source]
        source: Box<backup::BackupError>,
    },
    #[error("volume {volume} was not restored from {what} in repository {repository}")]
    Restore {
        volume: String,
        repository: String,
        /// `backup ID of volume NAME`.
        what: String,
        #[source]
        source: Box<backup::BackupError>,
    },
    /// It is made by a restore of a part, which would take the rest away.
    #[error("a part of a backup is restored to a volume of its own: say its name with --as")]
    PartNeedsName,
    #[error("backup {id} is of no volume: say with --as what the volume shall be called")]
    NeedsName { id: String },
    #[error("volume {0} exists already: choose another name, or remove it first")]
    VolumeExists(String),
    #[error("container {0} exists already: rename or remove it first")]
    ContainerExists(String),
    #[error("images are missing: {}; pull or load them first", .0.join(", "))]
    MissingImages(Vec<String>),
    #[error(
        "backup {id} in repository {repository} tells of no containers: it was made by another program"
    )]
    NoStack { repository: String, id: String },
    #[error("what a backup says of its {what} cannot be read")]
    Manifest {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "nothing is said of what shall be kept: --keep-last and the like, or name a backup with @ID"
    )]
    NoPolicy,
    #[error("a sample is more than 0 and at most 100 percent")]
    Sample,
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be read: forget the repository and add it again", path.display())]
    Secret { path: PathBuf },
    #[error("it was cancelled")]
    Cancelled,
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    TurnBack(#[from] TurnBackError),
    #[error(transparent)]
    Snapshot(#[from] volumes::SnapshotError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl BackupError {
    pub(super) fn io(
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
}

impl BackupError {
    /// Whether somebody else works with the repository just now, so that nothing can be taken from it.
    pub(crate) fn is_repository_in_use(&self) -> bool {
        matches!(self, Self::Repository { source, .. } if matches!(**source, backup::BackupError::Locked { .. }))
    }
}

impl Fault for BackupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchRepository(_) | Self::Unnamed(_) | Self::NoBackup { .. } => {
                ErrorKind::NotFound
            }
            Self::NoRepository
            | Self::RepositoryName(_)
            | Self::Location { .. }
            | Self::Reference(_)
            | Self::Ambiguous { .. }
            | Self::Nothing
            | Self::NoneLabelled(_)
            | Self::PartNeedsName
            | Self::NeedsName { .. }
            | Self::NoPolicy
            | Self::Sample => ErrorKind::Invalid,
            Self::RepositoryTaken(_)
            | Self::Locked { .. }
            | Self::Exchanged { .. }
            | Self::VolumeExists(_)
            | Self::ContainerExists(_) => ErrorKind::Conflict,
            Self::MissingImages(_) => ErrorKind::NotFound,
            Self::NoSnapshot(_) | Self::NoStack { .. } => ErrorKind::Unsupported,
            Self::Repository { source, .. }
            | Self::Unreadable { source, .. }
            | Self::Save { source, .. }
            | Self::Restore { source, .. } => kind_of(source),
            Self::Manifest { .. }
            | Self::Secret { .. }
            | Self::Record { .. }
            | Self::Records { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => ErrorKind::from(source),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Image(error) => error.kind(),
            Self::Network(error) => error.kind(),
            Self::TurnBack(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

/// What an error of the repository means to a caller.
fn kind_of(error: &backup::BackupError) -> ErrorKind {
    use backup::BackupError as E;
    match error {
        E::NoRepository { .. } | E::NoBackup { .. } | E::NoPath { .. } | E::NoKey { .. } => {
            ErrorKind::NotFound
        }
        E::Exists { .. }
        | E::Locked { .. }
        | E::LockLost { .. }
        | E::LastKey { .. }
        | E::Touched { .. } => ErrorKind::Conflict,
        E::WrongPassword { .. } | E::WrongKey { .. } | E::AppendOnly { .. } => ErrorKind::Denied,
        E::Version { .. } => ErrorKind::Unsupported,
        E::Location(_)
        | E::Ambiguous { .. }
        | E::NotAFile { .. }
        | E::ExtraName { .. }
        | E::Path { .. } => ErrorKind::Invalid,
        E::Place(error) => kind_of_place(error),
        E::Damaged { .. } | E::StillNeeded { .. } | E::Hostile { .. } => ErrorKind::Corrupt,
        E::Source { source, .. }
        | E::Unreadable { source, .. }
        | E::Target { source, .. }
        | E::Output { source, .. }
        | E::Cache { source, .. } => ErrorKind::from(source),
        E::Threads(_) | E::Format { .. } => ErrorKind::Internal,
        E::Stopped => ErrorKind::Cancelled,
    }
}

fn kind_of_place(error: &backup::PlaceError) -> ErrorKind {
    use backup::PlaceError as E;
    match error {
        E::Refused { .. } => ErrorKind::Denied,
        E::Missing { .. } => ErrorKind::Corrupt,
        E::Setting { .. } => ErrorKind::Invalid,
        E::Unreachable { .. } | E::Answer { .. } | E::Short { .. } | E::Nonsense { .. } => {
            ErrorKind::Unavailable
        }
        E::File { source, .. } => ErrorKind::from(source),
    }
}

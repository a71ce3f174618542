//! Why a schedule of backups could not be set or run.

use store::{ErrorKind, StoreError};

use crate::backups::{BackupError, FailedVolume};
use crate::drill::DrillError;
use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("no such schedule of backups: {0}")]
    NoSuch(String),
    #[error("invalid schedule name {0:?}: {rule}", rule = store::names::RULE)]
    Name(String),
    #[error("a schedule says when it runs: as a crontab expression, or every so many hours")]
    NoTime,
    #[error("a schedule has a crontab expression or a period, not both")]
    TwoTimes,
    #[error("invalid crontab expression {text:?}: {why}")]
    Cron { text: String, why: String },
    #[error("unknown time zone: {0}")]
    Zone(String),
    #[error("invalid period: it is at least one second")]
    Period,
    #[error("a schedule says what it backs up: volumes, a label, or all")]
    NoVolumes,
    #[error("invalid label {0:?}: write key or key=value")]
    Label(String),
    #[error("a sample is more than 0 and at most 100 percent")]
    Sample,
    #[error("schedule {0} finds no volume to back up")]
    Nothing(String),
    /// One backup at a time goes to a repository.
    #[error("repository {repository} is busy with schedule {schedule}")]
    Busy {
        repository: String,
        schedule: String,
    },
    /// The others were.
    #[error("{}", .0.iter().map(|one| one.error.as_str()).collect::<Vec<_>>().join("; "))]
    Part(Vec<FailedVolume>),
    #[error("the backup was made, but {count} problems were found in the repository: {first}")]
    Problems { count: usize, first: String },
    #[error("the backup was made, but a drill failed")]
    Drill {
        #[source]
        source: DrillError,
    },
    #[error("no thread for schedules of backups")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Snapshot(#[from] volumes::SnapshotError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for ScheduleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuch(_) | Self::Nothing(_) => ErrorKind::NotFound,
            Self::Name(_)
            | Self::NoTime
            | Self::TwoTimes
            | Self::Cron { .. }
            | Self::Zone(_)
            | Self::Period
            | Self::NoVolumes
            | Self::Label(_)
            | Self::Sample => ErrorKind::Invalid,
            Self::Busy { .. } => ErrorKind::Conflict,
            Self::Part(_) => ErrorKind::Unavailable,
            Self::Problems { .. } => ErrorKind::Corrupt,
            Self::Drill { source } => source.kind(),
            Self::Thread(_) => ErrorKind::Internal,
            Self::Backup(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

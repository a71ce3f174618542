//! What can go wrong with the state, and the kinds of error that every layer above shares.

use std::fmt;
use std::path::PathBuf;

/// What an error means to a caller, whatever its words: what a server turns into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// The state of the object forbids it.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// Somebody else uses the object.
    InUse,
    /// Not possible on this host or with this driver.
    Unsupported,
    /// It exists but cannot be reached now.
    Unavailable,
    /// The disk or a limit is full.
    NoSpace,
    /// The kernel or a policy forbids it.
    Denied,
    /// The caller gave up.
    Cancelled,
    /// Stored state contradicts itself.
    Corrupt,
    /// Anything that is nobody's fault but ours or the host's.
    Internal,
}

/// An error of the database engine; its type stays inside this crate.
#[derive(Debug)]
pub struct SqlError(pub(crate) rusqlite::Error);

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SqlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match sql_kind(&self.0) {
            // There is no more to it than its own words.
            ErrorKind::NoSpace => None,
            _ => self.0.source(),
        }
    }
}

impl SqlError {
    /// The file is not what it was when it was written.
    pub fn is_damage(&self) -> bool {
        sql_kind(&self.0) == ErrorKind::Corrupt
    }
}

/// Why the state could not be read or changed. After any of these nothing of the transaction has happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the database {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: SqlError,
    },
    #[error("the database {} is damaged: {found}", path.display())]
    Damaged { path: PathBuf, found: String },
    #[error("cannot bring the database to schema version {version}")]
    Migrate {
        version: u32,
        #[source]
        source: SqlError,
    },
    #[error(
        "the state directory was written by a newer version (its schema is {found}, this version knows up to {known}): \
         use that version, or another state directory"
    )]
    Newer { found: u32, known: u32 },
    #[error("cannot {action}")]
    Query {
        action: &'static str,
        #[source]
        source: SqlError,
    },
    /// A stored value does not read back; the row is never skipped.
    #[error("stored {column} of {table} {id} cannot be read")]
    Unreadable {
        table: &'static str,
        id: String,
        column: &'static str,
    },
    #[error("operation {op} stands at a step \"{step}\" that its kind {kind} does not have")]
    UnknownStep {
        op: String,
        kind: String,
        step: String,
    },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A test made this step fail.
    #[error("step {step} failed")]
    Step {
        step: String,
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// The database's file is not what it was when it was written. A newer one is whole.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Open { source, .. }
            | Self::Migrate { source, .. }
            | Self::Query { source, .. } => source.is_damage(),
            Self::Damaged { .. } => true,
            _ => false,
        }
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { source, .. }
            | Self::Migrate { source, .. }
            | Self::Query { source, .. } => sql_kind(&source.0),
            Self::Newer { .. } => ErrorKind::Unsupported,
            Self::Damaged { .. } | Self::Unreadable { .. } | Self::UnknownStep { .. } => {
                ErrorKind::Corrupt
            }
            Self::Io { source, .. } | Self::Step { source, .. } => ErrorKind::from(source),
        }
    }
}

fn sql_kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::NoSpace,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            ErrorKind::Corrupt
        }
        Some(rusqlite::ErrorCode::PermissionDenied | rusqlite::ErrorCode::ReadOnly) => {
            ErrorKind::Denied
        }
        _ => ErrorKind::Internal,
    }
}

impl From<&std::io::Error> for ErrorKind {
    /// The kinds of I/O errors that mean the same wherever they happen; all others are internal.
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Self::NoSpace,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::Denied,
            _ => Self::Internal,
        }
    }
}

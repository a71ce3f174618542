//! Why a registry did not do what it was asked, in the words of Docker's client where it has some.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer came: the name, the connection, TLS, or time ran out.
    #[error("{method} \"{url}\"")]
    Request {
        method: &'static str,
        url: String,
        source: Unanswered,
    },
    /// The registry said no, in its own words.
    #[error("{code}: {message}")]
    Refused {
        status: u16,
        /// As Docker shows it: `manifest unknown`.
        code: String,
        message: String,
    },
    #[error("received unexpected HTTP status: {status} from {url}")]
    Status { status: u16, url: String },
    #[error("{0}: no basic auth credentials")]
    NoCredentials(String),
    #[error("login attempt to {url} failed with status: {status}")]
    Login { url: String, status: String },
    #[error("refusing to send credentials to {0}, which is not encrypted")]
    Unencrypted(String),
    #[error("{url} gave an answer that cannot be understood: {why}")]
    Answer { url: String, why: String },
    /// The size or digest of what came is not that which was asked for.
    #[error("{what}: expected {expected}, got {got}")]
    Mismatch {
        what: String,
        expected: String,
        got: String,
    },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("{0}")]
    Unsupported(String),
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoPlatform(String),
    #[error("invalid setting of the registry client: {0}")]
    Setting(String),
    #[error("gave up after {attempts} attempts")]
    GaveUp { attempts: u32, source: Box<Self> },
    #[error("the transfer was cancelled")]
    Cancelled,
    /// What the caller does with the bytes has failed.
    #[error("cannot pass on what the registry sent")]
    Local {
        #[source]
        source: io::Error,
    },
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub(crate) String);

impl RegistryError {
    /// What the registry lacks, or does not show.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Status { status, .. } => *status == 404,
            Self::NoPlatform(_) => true,
            _ => false,
        }
    }

    /// Who asks may not.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Status { status, .. } => {
                matches!(status, 401 | 403)
            }
            Self::NoCredentials(_) | Self::Login { .. } => true,
            _ => false,
        }
    }

    /// Nobody answered in a way that another try could not change.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Request { .. })
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Refused { status, .. } | Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The code of the registry's refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

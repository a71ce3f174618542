//! Why a verb on an image failed, in Docker's words.

use store::ErrorKind;

use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("No such image: {0}")]
    NoSuch(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl Fault for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuch(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Io { .. } => ErrorKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}

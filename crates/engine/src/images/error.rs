//! Why a verb on an image failed, in Docker's words.

use store::ErrorKind;

use registry::RegistryError;

use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("No such image: {0}")]
    NoSuch(String),
    /// Another sentence for the same.
    #[error("{0}")]
    Missing(String),
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
    #[error("pull access denied for {0}, repository does not exist or may require 'docker login'")]
    PullDenied(String, #[source] RegistryError),
    #[error("manifest for {0} not found")]
    NoManifest(String, #[source] RegistryError),
    #[error("repository {0} not found")]
    NoRepository(String, #[source] RegistryError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl Fault for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuch(_) | Self::Missing(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Io { .. } => ErrorKind::Internal,
            Self::PullDenied(..) | Self::NoManifest(..) | Self::NoRepository(..) => {
                ErrorKind::NotFound
            }
            Self::Registry(error) if error.is_not_found() => ErrorKind::NotFound,
            Self::Registry(error) if error.is_denied() => ErrorKind::Denied,
            Self::Registry(RegistryError::Setting(_)) => ErrorKind::Invalid,
            Self::Registry(_) => ErrorKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}

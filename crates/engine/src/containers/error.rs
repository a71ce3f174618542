//! Why a verb on a container failed, in Docker's words.

use store::ErrorKind;

use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse { name: String, holder: String },
    /// The request contradicts itself or names something impossible (400).
    #[error("{0}")]
    Invalid(String),
    /// Something named in the request does not exist (404).
    #[error("{0}")]
    NotFound(String),
    /// The container's state forbids it (409).
    #[error("{0}")]
    Conflict(String),
    #[error("container {0} is not running")]
    NotRunning(String),
    /// Nothing to do; the API answers 304.
    #[error("container already in that state")]
    NotModified,
    /// The container's process did not start.
    #[error("failed to create task for container: {message}")]
    Start { message: String, code: i32 },
    #[error("container {container} is not connected to network {network}")]
    NotConnected { container: String, network: String },
    #[error("{0}")]
    Unsupported(String),
    #[error("{action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    /// The shim answered something unexpected or went away.
    #[error("container runtime: {0}")]
    Shim(String),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Pool(#[from] volumes::PoolError),
    #[error(transparent)]
    Image(#[from] crate::images::ImageError),
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
}

impl Fault for ContainerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuch(_) | Self::NoSuchExec(_) | Self::NotFound(_) => ErrorKind::NotFound,
            Self::Ambiguous(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::NameInUse { .. } | Self::Conflict(_) | Self::NotRunning(_) => ErrorKind::Conflict,
            Self::NotModified => ErrorKind::Conflict,
            Self::Start {
                code: 126 | 127, ..
            } => ErrorKind::Invalid,
            // Docker answers 500 to the last one; clients look at the sentence.
            Self::Start { .. } | Self::Io { .. } | Self::Shim(_) | Self::NotConnected { .. } => {
                ErrorKind::Internal
            }
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Store(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Pool(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Network(error) => error.kind(),
        }
    }
}

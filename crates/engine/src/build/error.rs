//! Why a build failed, in Docker's words where it has them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use store::ErrorKind;

use crate::containers::ContainerError;
use crate::error::Fault;
use crate::images::ImageError;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile says something impossible; the text shows where.
    #[error("{report}")]
    Dockerfile { report: String },
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Command { command: String, code: i32 },
    /// `ADD` or `COPY`.
    #[error("{instruction} failed: {why}")]
    Copy {
        instruction: &'static str,
        why: String,
    },
    #[error("failed to process \"{text}\": {why}")]
    Expand { text: String, why: String },
    #[error("Cannot locate specified Dockerfile: {0}")]
    NoDockerfile(String),
    #[error("failed to reach build target {0} in Dockerfile")]
    NoTarget(String),
    /// What was probably meant is a stage; as the image that it could be, too, it cannot be had.
    #[error("\"{from}\" is no stage of this file (did you mean {suggestion}?) and no image")]
    NoStage {
        from: String,
        suggestion: String,
        #[source]
        source: Box<Self>,
    },
    /// An instruction or a parameter that cannot be.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("secret {0}: not found")]
    NoSecret(String),
    #[error("the build was cancelled")]
    Cancelled,
    #[error("the build context is no usable archive")]
    Context(#[source] archive::IndexError),
    #[error("the build context is no usable archive")]
    Compression(#[source] archive::CompressionError),
    #[error("{action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot unpack {name}")]
    Unpack {
        name: String,
        #[source]
        source: archive::UnpackError,
    },
    #[error("a layer could not be packed")]
    Layer(#[from] Arc<ImageError>),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl BuildError {
    /// The exit code of a command that failed.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Command { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl Fault for BuildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Dockerfile { .. }
            | Self::Copy { .. }
            | Self::Expand { .. }
            | Self::NoDockerfile(_)
            | Self::NoTarget(_)
            | Self::NoStage { .. }
            | Self::Invalid(_)
            | Self::NoSecret(_)
            | Self::Context(_)
            | Self::Compression(_)
            | Self::Unpack { .. } => ErrorKind::Invalid,
            Self::Command { .. } | Self::File { .. } | Self::Layer(_) => ErrorKind::Internal,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Image(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

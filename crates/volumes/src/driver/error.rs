//! What drivers refuse and what fails in them, in Docker's words.

use std::io;
use std::path::PathBuf;

use store::ErrorKind;
use sys::error_words;

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("invalid option: {0:?}")]
    InvalidOption(String),
    #[error("missing required option: {0:?}")]
    MissingOption(&'static str),
    #[error("invalid size: '{0}'")]
    InvalidSize(String),
    #[error("quota size requested but no quota support")]
    NoQuota,
    #[error("a soft limit above the size is never crossed")]
    SoftAboveSize,
    #[error("an image needs a size")]
    ImageWithoutSize,
    #[error("a size of at least {least} bytes is needed here")]
    TooSmall { least: u64 },
    #[error("the number of files cannot be limited here")]
    NoInodes,
    /// It holds more than it shall be able to.
    #[error("it holds {used} bytes, which do not fit into {wanted}")]
    TooFull { used: u64, wanted: u64 },
    #[error("that takes a copy of {needed} bytes, and the disk has {free} left")]
    NoRoom { needed: u64, free: u64 },
    #[error("its copy is not like it at {}", path.display())]
    Differs { path: PathBuf },
    #[error("its size cannot be changed while it is in use: {why}")]
    Live { why: String },
    /// A program that makes or changes filesystems.
    #[error("{program} failed: {said}")]
    Program { program: &'static str, said: String },
    #[error("{program} is not installed: it comes with e2fsprogs")]
    NoProgram { program: &'static str },
    #[error("port not allowed in CIFS device URL, include 'port' in 'o='")]
    CifsPort,
    #[error("error resolving passed in network volume address: {address}: {}", error_words(.source))]
    Resolve {
        address: String,
        #[source]
        source: io::Error,
    },
    /// `call` is what was asked of the kernel, without secrets.
    #[error("failed to mount local volume: {call}: {}", error_words(.source))]
    Mount {
        call: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Plugin(Box<volume_plugins::PluginError>),
    #[error("cannot make the copy {}", to.display())]
    Replicate {
        to: PathBuf,
        #[source]
        source: sys::copy_tree::CopyError,
    },
    #[error("cannot {action} {}: {}", path.display(), error_words(.source))]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl DriverError {
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidOption(_)
            | Self::MissingOption(_)
            | Self::InvalidSize(_)
            | Self::NoQuota
            | Self::SoftAboveSize
            | Self::ImageWithoutSize
            | Self::TooSmall { .. }
            | Self::NoInodes
            | Self::NoProgram { .. }
            | Self::CifsPort => ErrorKind::Invalid,
            Self::TooFull { .. } | Self::Live { .. } => ErrorKind::Conflict,
            Self::NoRoom { .. } => ErrorKind::NoSpace,
            Self::Program { .. } | Self::Differs { .. } => ErrorKind::Internal,
            Self::Resolve { .. } | Self::Mount { .. } | Self::Plugin(_) => ErrorKind::Internal,
            Self::Replicate { source, .. } => {
                source.cause().map_or(ErrorKind::Cancelled, ErrorKind::from)
            }
            Self::Io { source, .. } => ErrorKind::from(source),
        }
    }
}

//! Why a transfer ended before its end.

use std::io;

use crate::path::RelPath;
use crate::{Digest, FORMAT};

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: RelPath,
        source: io::Error,
    },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the other engine: {0}")]
    Peer(String),
    #[error("the other engine sent what makes no sense: {0}")]
    Nonsense(&'static str),
    #[error("the other engine sent {0}, which cannot be in a volume")]
    Unsound(RelPath),
    #[error("the other engine speaks format {0} of transfers, this one format {FORMAT}")]
    Format(u32),
    #[error("the trees are not equal")]
    Unchanging,
    #[error("the filesystem here cannot keep the attribute {attribute} of {path}")]
    Attribute { path: RelPath, attribute: String },
    #[error(
        "the copy does not agree with its source (it is {found} instead of {wanted}): what differs is sent again by the \
         same command"
    )]
    Disagree { wanted: Digest, found: Digest },
}

impl TransferError {
    pub(crate) fn io(
        action: &'static str,
        path: &RelPath,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.clone();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Whether the same command, given again, may go on where this ended.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Disagree { .. })
    }
}

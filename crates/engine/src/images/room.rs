//! How much may come out of a stream from outside: never more than the disk has free, less a reserve for everybody else.
//!
//! What a registry sends is bounded by its size, too: it was made by strangers, and claims nothing that costs them.

use std::io;
use std::os::fd::BorrowedFd;

use archive::{Limits, UnpackError};
use rustix::io::Errno;

use super::ImageError;

/// A layer may unpack to so many times its size, and this much more: gzip cannot do better than a thousand, honest files
/// do not come near it.
const MOST_RATIO: u64 = 200;
pub(super) const MOST_BEYOND: u64 = 1 << 30;
const MOST_ENTRIES: u64 = 10_000_000;
/// What stays free on the disk.
const RESERVE: u64 = 64 << 20;

/// A bound, and what it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(super) bytes: u64,
    /// The size of the compressed stream, if that is what bounds it.
    ratio_of: Option<u64>,
}

impl Room {
    /// What the disk of a directory has. `what` is for messages: "layer 0123".
    pub(crate) fn on_disk(directory: BorrowedFd<'_>, what: &str) -> Result<Self, ImageError> {
        Self::beside(directory, 0, what)
    }

    /// The same for a layer whose compressed stream of `size` bytes is kept beside its files.
    pub(super) fn for_layer(
        directory: BorrowedFd<'_>,
        size: u64,
        what: &str,
    ) -> Result<Self, ImageError> {
        let room = Self::beside(directory, size, what)?;
        let honest = size.saturating_mul(MOST_RATIO).saturating_add(MOST_BEYOND);
        if room.bytes < honest {
            return Ok(room);
        }
        Ok(Self {
            bytes: honest,
            ratio_of: Some(size),
        })
    }

    fn beside(directory: BorrowedFd<'_>, size: u64, what: &str) -> Result<Self, ImageError> {
        let disk = rustix::fs::fstatvfs(directory).map_err(|error| ImageError::Io {
            action: format!("cannot find out whether {what} fits on the disk"),
            source: error.into(),
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let bytes = free.saturating_sub(RESERVE).saturating_sub(size);
        if bytes == 0 {
            return Err(ImageError::Io {
                action: format!("{what} does not fit on the disk, which has {free} bytes left"),
                source: Errno::NOSPC.into(),
            });
        }
        Ok(Self {
            bytes,
            ratio_of: None,
        })
    }

    pub(crate) fn limits(self) -> Limits {
        Limits {
            max_bytes: self.bytes,
            max_entries: MOST_ENTRIES,
        }
    }

    /// Why something could not be unpacked: a full disk is told from a bad archive.
    pub(crate) fn refused(self, what: &str, error: &UnpackError) -> ImageError {
        match (error, self.ratio_of) {
            (UnpackError::TooLarge { limit }, Some(size)) => ImageError::Invalid(format!(
                "{what} unpacks to more than {limit} bytes, which is too much for its {size} compressed ones"
            )),
            (UnpackError::TooLarge { limit }, None) => ImageError::Io {
                action: format!("{what} unpacks to more than the {limit} bytes that are free"),
                source: Errno::NOSPC.into(),
            },
            _ => match error.cause() {
                Some(cause) => match cause.raw_os_error() {
                    Some(number) => ImageError::Io {
                        action: format!("failed to register {what}: {error}"),
                        source: io::Error::from_raw_os_error(number),
                    },
                    None => {
                        ImageError::Invalid(format!("failed to register {what}: {error}: {cause}"))
                    }
                },
                None => ImageError::Invalid(format!("failed to register {what}: {error}")),
            },
        }
    }
}

//! Whether files of a filesystem can share their data.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Tries it with two empty files without names in `dir`.
///
/// # Errors
/// What keeps files from being made there.
pub fn is_possible(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let nameless = || {
        rustix::fs::openat(
            dir,
            c".",
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
    };
    let (source, target) = match (nameless(), nameless()) {
        (Ok(source), Ok(target)) => (source, target),
        // A filesystem without nameless files is none that shares data.
        (Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL), _)
        | (_, Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)) => return Ok(false),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    match rustix::fs::ioctl_ficlone(&target, &source) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS | Errno::INVAL) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

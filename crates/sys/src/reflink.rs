//! Files that share their data: whether a filesystem has them, and parts of them.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Tries it with two empty files without names in `dir`.
///
/// # Errors
/// What keeps files from being made there.
pub fn is_possible(dir: BorrowedFd<'_>) -> io::Result<bool> {
    is_possible_between(dir, dir)
}

/// As [`is_possible`], for a file in one directory and one in another.
///
/// # Errors
/// What keeps files from being made in them.
pub fn is_possible_between(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
    let nameless = |dir: BorrowedFd<'_>| {
        rustix::fs::openat(
            dir,
            c".",
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
    };
    let (source, target) = match (nameless(from), nameless(to)) {
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

/// Makes `length` bytes of `target` at `to` share the data of `source` at `from`; not a byte is copied. What is there is
/// replaced. Everything lies on boundaries of the filesystem's blocks, but for the end of `source`.
///
/// # Errors
/// `InvalidInput` for what does not lie on boundaries or is not in `source`, and for no bytes; any other of the kernel's.
pub fn share(
    source: BorrowedFd<'_>,
    from: u64,
    length: u64,
    target: BorrowedFd<'_>,
    to: u64,
) -> io::Result<()> {
    if length == 0 {
        // To the kernel that is everything that follows.
        return Err(Errno::INVAL.into());
    }
    let range = libc::file_clone_range {
        src_fd: source.as_raw_fd().into(),
        src_offset: from,
        src_length: length,
        dest_offset: to,
    };
    // SAFETY: `range` is the struct that the request reads, and lives until the call returns.
    let result = unsafe {
        libc::ioctl(
            target.as_raw_fd(),
            libc::FICLONERANGE as _,
            &raw const range,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

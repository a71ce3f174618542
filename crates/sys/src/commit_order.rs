//! Filesystems that bring changes to disk in order: what they know of already needs no flush of its own before a change that must not
//! be on disk without it.
//!
//! * btrfs commits its trees as one. A copy of a subvolume is always such a commit; other changes may come to disk alone, when somebody
//!   has an entry of a directory synced.
//! * XFS has one log for all changes but those of bytes in files, is replayed in its order, and flushes the device's cache before
//!   each part of it.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::{btrfs_quota, dir, filesystem_kind};

/// `FS_IOC_FIEMAP`.
const FIEMAP: libc::c_ulong = 0xC020_660B;
/// `FIEMAP_FLAG_SYNC`.
const SYNC: u32 = 1;

/// The first kernel whose map of a file on a btrfs waits until the trees have what was written (in `btrfs_fiemap`; before, until the
/// device has it).
const BTRFS_SINCE: (u32, u32) = (6, 1);

/// What is made next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Copies of subvolumes, and what makes no difference without them.
    Subvolumes,
    Anything,
}

/// The kernel's `struct fiemap`, without room for extents: they are counted.
#[repr(C)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

/// Has what was written to `file` on disk no later than what is made in the filesystem of `dir` after this returns. Waits for the
/// device to have the data, not for its cache.
///
/// False, and nothing is done, when that filesystem keeps no such order, or `file` does not lie there.
///
/// # Errors
/// Those of the disk.
pub fn write_before(file: BorrowedFd<'_>, next: Next, dir: BorrowedFd<'_>) -> io::Result<bool> {
    let kind = filesystem_kind::of(dir)?;
    let is_kept = match kind {
        _ if kind != filesystem_kind::of(file)? => false,
        filesystem_kind::BTRFS => {
            next == Next::Subvolumes
                && btrfs_quota::uuid(dir)? == btrfs_quota::uuid(file)?
                && is_new(&rustix::system::uname().release().to_string_lossy())
        }
        filesystem_kind::XFS => dir::stat(dir)?.dev == dir::stat(file)?.dev,
        _ => false,
    };
    if !is_kept {
        return Ok(false);
    }
    let mut map = Map {
        start: 0,
        length: u64::MAX,
        flags: SYNC,
        mapped: 0,
        room: 0,
        reserved: 0,
    };
    // SAFETY: `map` is the struct that the request reads and writes, has no room for extents as it says, and lives until the call
    // returns.
    match unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP as _, &raw mut map) } {
        0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a kernel of this release is one of those.
fn is_new(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    let (major, minor) = (numbers.next(), numbers.next());
    (major.unwrap_or(0), minor.unwrap_or(0)) >= BTRFS_SINCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_are_new() {
        for release in ["6.1.0-49-cloud-amd64", "6.1", "6.18.3", "7.0.0-rc1", "10.0"] {
            assert!(is_new(release), "{release}");
        }
        for release in ["6.0.19", "5.15.0-100-generic", "5.19", "", "nonsense"] {
            assert!(!is_new(release), "{release}");
        }
    }
}

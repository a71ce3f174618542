//! What kind of filesystem something lies on, as the kernel numbers them (statfs(2), `linux/magic.h`).

use std::io;
use std::os::fd::BorrowedFd;

pub(crate) const BTRFS: u64 = 0x9123_683E;
/// ext2 and ext3, too.
pub(crate) const EXT4: u64 = 0xEF53;
pub(crate) const F2FS: u64 = 0xF2F5_2010;
pub(crate) const TMPFS: u64 = 0x0102_1994;
pub(crate) const XFS: u64 = 0x5846_5342;

/// The number of the filesystem of `fd`.
///
/// # Errors
/// Those of `fstatfs`.
pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<u64> {
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the field's type differs between machines"
    )]
    let kind = rustix::fs::fstatfs(fd)?.f_type as u64;
    // Where the field is signed and short, the upper half is its sign.
    Ok(kind & 0xFFFF_FFFF)
}

//! btrfs: a read-only snapshot as a stream of the commands that make it, or that make it of an earlier one.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::btrfs_quota::subvolume_id;

const SEND: libc::c_ulong = 0x4048_9426;

/// The kernel's `struct btrfs_ioctl_send_args`.
#[repr(C)]
struct Arguments {
    into: i64,
    clone_sources_count: u64,
    clone_sources: *const u64,
    parent: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

/// Writes the stream of the snapshot `root` into the pipe `into`, in version 1 of the format, whose commands are short; it
/// returns when all of it is there. With a `parent`, which must be an earlier snapshot of the same subvolume, only what has
/// changed since. Data is cloned from nothing but the tree itself. Both must be read-only.
///
/// # Errors
/// `PermissionDenied` for a tree that can be written to, and for anyone but root; `BrokenPipe` when nobody reads any more; any
/// other of the kernel's, also in the middle of the stream.
pub fn send(
    root: BorrowedFd<'_>,
    parent: Option<BorrowedFd<'_>>,
    into: BorrowedFd<'_>,
) -> io::Result<()> {
    let arguments = Arguments {
        into: into.as_raw_fd().into(),
        clone_sources_count: 0,
        clone_sources: std::ptr::null(),
        parent: parent.map(subvolume_id).transpose()?.unwrap_or(0),
        flags: 0,
        version: 0,
        reserved: [0; 28],
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns; a count of 0 says that the
    // pointer in it leads to nothing.
    let result = unsafe { libc::ioctl(root.as_raw_fd(), SEND as _, &raw const arguments) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

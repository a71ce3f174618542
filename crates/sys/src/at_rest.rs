//! Whether a file is at rest: nobody has it open for writing, or mapped so that it can be written to.
//!
//! A copy of it byte by byte is then one of an instant, unless its time of change says later that somebody has opened it since.
//! Of a file that is not nobody can say so: a write that takes long, or one through a mapping that is dirty already, moves the
//! time of change before the bytes.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::filesystem_kind;

/// `F_SETSIG`: the signal for whoever waits for the lease to end.
const SET_SIGNAL: libc::c_int = 10;

/// Whether [`is_at_rest`] and times of change tell everything about files on the filesystem of `root`: so it is known of ext4.
///
/// # Errors
/// Those of `fstatfs`.
pub fn can_be_told(root: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(filesystem_kind::of(root)? == filesystem_kind::EXT4)
}

/// Asks by a lease, which the kernel gives for a file that nobody writes to, and gives it back at once: whoever opens the file
/// in this moment waits for it. `file` is open for reading. False also where nobody can tell: without `CAP_LEASE` about files
/// of others, and on filesystems without leases.
pub(crate) fn is_at_rest(file: BorrowedFd<'_>) -> bool {
    let file = file.as_raw_fd();
    // The signal for whom somebody waits for would end the process; this one is ignored unless it is handled.
    // SAFETY: it takes a number, and changes nothing but this open file.
    let prepared = unsafe { libc::fcntl(file, SET_SIGNAL, libc::SIGURG) };
    if prepared != 0 {
        return false;
    }
    // SAFETY: as above.
    let leased = unsafe { libc::fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) };
    if leased != 0 {
        return false;
    }
    // SAFETY: as above.
    let given_back = unsafe { libc::fcntl(file, libc::F_SETLEASE, libc::F_UNLCK) };
    given_back == 0
}

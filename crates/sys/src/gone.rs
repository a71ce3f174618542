//! Whether somebody else was faster: names are read in one moment, and what they name is looked at in another.

use std::io;

use rustix::io::Errno;

/// What an entry was opened or looked at for is no longer there, or no longer of the kind that it was.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::STALE)
    )
}

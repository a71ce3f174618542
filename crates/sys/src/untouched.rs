//! Whether a tree was left alone since a moment: nothing in it was written, made, renamed, removed, or got other attributes.
//!
//! Known by the times of the last change of status, which nobody can set; when the clock was, nobody can tell, and the answer
//! is no, as it is when something changed within a moment before. What is written through a mapping that was dirty already
//! leaves no trace: sync the filesystem before the moment.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::Scope;
use rustix::fs::FileType;

use crate::catch_up::Began;
use crate::filesystem_kind::{BTRFS, EXT4, F2FS, TMPFS, XFS};
use crate::{copy_tree, dir, filesystem_kind};

/// Filesystems whose times are set by this machine.
const LOCAL: [u64; 5] = [EXT4, XFS, BTRFS, F2FS, TMPFS];

/// Whether times of change tell anything here: a server has a clock of its own.
///
/// # Errors
/// Those of `fstatfs`.
pub fn can_be_told(root: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(LOCAL.contains(&filesystem_kind::of(root)?))
}

/// Looks at every entry below `root`, and at `root`, with several threads. What vanishes under its eyes is a change.
///
/// # Errors
/// Those of reading directories.
pub fn is_untouched(root: BorrowedFd<'_>, since: &Began) -> io::Result<bool> {
    if since.clock_was_set() {
        return Ok(false);
    }
    let walk = Walk {
        since,
        touched: AtomicBool::new(since.is_before(dir::stat(root)?.ctime)),
        failed: Mutex::default(),
    };
    let root = Arc::new(dir::open_at(root, OsStr::new("."))?);
    copy_tree::pool().scope(|scope| walk.directory(scope, &root));
    match walk
        .failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(!walk.touched.into_inner()),
    }
}

struct Walk<'a> {
    since: &'a Began,
    touched: AtomicBool,
    failed: Mutex<Option<io::Error>>,
}

impl Walk<'_> {
    fn directory<'s>(&'s self, scope: &Scope<'s>, opened: &Arc<OwnedFd>) {
        if let Err(error) = self.look(scope, opened) {
            self.fail(error);
        }
    }

    fn look<'s>(&'s self, scope: &Scope<'s>, opened: &Arc<OwnedFd>) -> io::Result<()> {
        for entry in dir::read_dir(opened.as_fd())? {
            if self.touched.load(Ordering::Relaxed) {
                return Ok(());
            }
            let stat = dir::stat_at(opened.as_fd(), &entry.name)?;
            if self.since.is_before(stat.ctime) {
                self.touched.store(true, Ordering::Relaxed);
            } else if stat.kind() == FileType::Directory {
                let above = Arc::clone(opened);
                scope.spawn(
                    move |scope| match dir::open_at(above.as_fd(), &entry.name) {
                        Ok(opened) => {
                            drop(above);
                            self.directory(scope, &Arc::new(opened));
                        }
                        Err(error) => self.fail(error),
                    },
                );
            }
        }
        Ok(())
    }

    fn fail(&self, error: io::Error) {
        self.touched.store(true, Ordering::Relaxed);
        // It has gone, or something else is there that is no directory.
        if !crate::is_gone(&error) {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_goes_or_is_replaced_was_touched() {
        let since = Began::now();
        for (errno, is_error) in [
            (Errno::NOENT, false),
            (Errno::NOTDIR, false),
            (Errno::LOOP, false),
            (Errno::IO, true),
        ] {
            let walk = Walk {
                since: &since,
                touched: AtomicBool::new(false),
                failed: Mutex::default(),
            };
            walk.fail(errno.into());
            assert!(walk.touched.into_inner(), "{errno}");
            let failed = walk
                .failed
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            assert_eq!(failed.is_some(), is_error, "{errno}");
        }
    }
}

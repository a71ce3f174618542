//! Paths of /proc and /sys that tell or change too much: hidden, or made read-only.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use shim_protocol::StartError;

use super::attach;
use super::target::{self, is_directory};
use super::tmpfs::{self, Options};
use crate::failure::During as _;

/// Hides each of `paths` that exists: a file behind /dev/null, a directory behind an empty one.
pub(crate) fn hide(root: BorrowedFd<'_>, paths: &[String]) -> Result<(), StartError> {
    let mut empty: Option<OwnedFd> = None;
    let mut null: Option<OwnedFd> = None;
    for path in paths {
        let what = || format!("cannot mask {path}");
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let tree = if is_directory(&place).during("masks", what)? {
            // One file system serves all: it is empty for ever. Before Linux 6.15 only a mount that is attached can
            // be copied, so the first place gets the original.
            match &empty {
                Some(first) => attach::copy(first.as_fd(), false).during("masks", what)?,
                None => tmpfs::create(path, &Options::parse(&["nr_inodes=1".to_owned()])?)?,
            }
        } else {
            let source = match &null {
                Some(source) => source,
                None => null.insert(
                    rustix::fs::openat(
                        CWD,
                        "/dev/null",
                        OFlags::PATH | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                    .during("masks", what)?,
                ),
            };
            attach::copy(source.as_fd(), false).during("masks", what)?
        };
        attach::attach(tree.as_fd(), place.as_fd()).during("masks", what)?;
        attach::set_propagation(tree.as_fd(), false, sys::mount::Propagation::Private)
            .during("masks", what)?;
        if is_directory(&tree).during("masks", what)? {
            attach::make_read_only(tree.as_fd(), false).during("masks", what)?;
            empty.get_or_insert(tree);
        }
    }
    Ok(())
}

/// Makes each of `paths` that exists read-only, with all below it.
pub(crate) fn protect(root: BorrowedFd<'_>, paths: &[String]) -> Result<(), StartError> {
    for path in paths {
        let what = || format!("cannot make {path} read-only");
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let tree = attach::copy(place.as_fd(), true).during("masks", what)?;
        attach::attach(tree.as_fd(), place.as_fd()).during("masks", what)?;
        match attach::make_read_only(tree.as_fd(), true) {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                attach::make_read_only(tree.as_fd(), false).during("masks", what)?;
            }
            other => other.during("masks", what)?,
        }
    }
    Ok(())
}

fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, StartError> {
    match target::find(root, path) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).during("masks", || format!("cannot find {path}")),
    }
}

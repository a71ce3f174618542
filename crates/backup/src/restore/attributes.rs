//! What an entry has besides contents: owner, extended attributes and ACLs, mode, times, in the order in which one does not
//! undo another. Each function tells how many extended attributes were not taken.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use sys::xattr::{self, Subject};

use crate::node::{Node, NodeKind};

/// For an open file or directory. The owner comes first, as changing it drops setuid bits and capabilities.
pub(super) fn set_open(fd: BorrowedFd<'_>, node: &Node) -> io::Result<u64> {
    let now = sys::dir::stat(fd)?;
    if (now.uid, now.gid) != (node.uid, node.gid) {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    let lost = extended(Subject::Open(fd), node)?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(node.permissions()))?;
    rustix::fs::futimens(fd, &times(node))?;
    Ok(lost)
}

/// For a link, device, fifo or socket.
pub(super) fn set_entry(dir: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<u64> {
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let lost = extended(Subject::Entry(dir, name), node)?;
    if node.kind != NodeKind::Symlink {
        // Through a descriptor, as changing the mode by name follows links.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        sys::dir::chmod_path(opened.as_fd(), node.permissions())?;
    }
    rustix::fs::utimensat(dir, name, &times(node), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(lost)
}

fn extended(subject: Subject<'_>, node: &Node) -> io::Result<u64> {
    let mut lost = 0;
    for attribute in &node.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        match xattr::set(subject, attribute.name.as_ref(), value) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) =>
            {
                tracing::warn!(name = attribute.name, %error, "attribute not restored");
                lost += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lost)
}

fn times(node: &Node) -> Timestamps {
    let timespec = |time: jiff::Timestamp| {
        let floor = time.as_nanosecond().div_euclid(1_000_000_000);
        let rest = time.as_nanosecond().rem_euclid(1_000_000_000);
        Timespec {
            tv_sec: i64::try_from(floor).unwrap_or(0),
            tv_nsec: i64::try_from(rest).unwrap_or(0),
        }
    };
    Timestamps {
        last_access: timespec(node.atime),
        last_modification: timespec(node.mtime),
    }
}

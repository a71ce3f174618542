//! Gives a copy what its source has besides contents.
//!
//! In an order that keeps everything: the owner first, as changing it drops setuid bits and capabilities; then extended
//! attributes; then the mode; times last.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::process::{Gid, Uid};

use crate::dir::{self, Stat, Time};
use crate::xattr::{self, ACCESS_ACL, DEFAULT_ACL, Subject};

/// Whether a new entry of the target may have an ACL that it got from the target's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acl {
    Absent,
    Inherited,
}

/// For files and directories.
pub(crate) fn to_open(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    stat: &Stat,
    acl: Acl,
) -> io::Result<()> {
    let now = dir::stat(dst)?;
    if (now.uid, now.gid) != (stat.uid, stat.gid) {
        let (uid, gid) = owner(stat);
        rustix::fs::fchown(dst, Some(uid), Some(gid))?;
    }
    extended(Subject::Open(src), Subject::Open(dst), acl)?;
    rustix::fs::fchmod(dst, Mode::from_raw_mode(stat.permissions()))?;
    rustix::fs::futimens(dst, &times(stat))?;
    Ok(())
}

/// For the entries `name` that cannot be opened: links, devices, fifos, sockets.
pub(crate) fn to_entry(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    name: &OsStr,
    stat: &Stat,
    acl: Acl,
) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(dst, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let acl = if stat.kind() == FileType::Symlink {
        Acl::Absent
    } else {
        acl
    };
    extended(Subject::Entry(src, name), Subject::Entry(dst, name), acl)?;
    if stat.kind() != FileType::Symlink {
        // Through a descriptor, as changing the mode by name follows links.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(dst, name, flags, Mode::empty())?;
        dir::chmod_path(node.as_fd(), stat.permissions())?;
    }
    rustix::fs::utimensat(dst, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.uid), Gid::from_raw(stat.gid))
}

fn times(stat: &Stat) -> Timestamps {
    let timespec = |time: Time| Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: timespec(stat.atime),
        last_modification: timespec(stat.mtime),
    }
}

fn extended(src: Subject<'_>, dst: Subject<'_>, acl: Acl) -> io::Result<()> {
    let names = xattr::list(src)?;
    if acl == Acl::Inherited {
        for unwanted in [ACCESS_ACL, DEFAULT_ACL] {
            if !names.iter().any(|name| name == unwanted) {
                xattr::remove(dst, OsStr::new(unwanted))?;
            }
        }
    }
    for name in names.iter().filter(|name| xattr::is_copied(name)) {
        let Some(value) = xattr::get(src, name)? else {
            continue;
        };
        match xattr::set(dst, name, &value) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            // Labels of security modules follow the policy of the machine; files are complete without.
            Err(_) if xattr::is_label(name) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! Entries made, changed and removed in a tree that nobody else sees.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sys::dir;
use sys::xattr::{self, Subject};

use crate::blocks::{self, BLOCK};
use crate::entry::{Meta, Node, file_type, is_kept};
use crate::error::TransferError;
use crate::path::RelPath;

/// Removes whatever has the name; that there is nothing is fine.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => dir::remove_tree_at(dir, name),
        Err(error) => Err(error.into()),
    }
}

/// Sees to it that there is a directory of that name, closed to others when it is new.
pub(crate) fn directory(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match dir::stat_at(dir, name) {
        Ok(stat) if stat.kind() == FileType::Directory => return Ok(()),
        Ok(_) => remove(dir, name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    make_directory(dir, name)
}

/// A new directory, closed to others.
pub(crate) fn make_directory(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(dir, name, Mode::RWXU)?)
}

/// An empty file in the place of whatever has the name.
pub(crate) fn create(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    remove(dir, name)?;
    make_file(dir, name)
}

/// A new file, closed to others.
pub(crate) fn make_file(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        dir,
        name,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?)
}

/// The file of that name for writing; `None` when it is something else, which is not opened: a device would notice.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match dir::stat_at(dir, name) {
        Ok(stat) if stat.kind() == FileType::RegularFile => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let is_file = dir::stat(file.as_fd())?.kind() == FileType::RegularFile;
    Ok(is_file.then_some(file))
}

pub(crate) fn block(file: BorrowedFd<'_>, index: u64, bytes: &[u8]) -> io::Result<()> {
    at(file, blocks::at(index), bytes)
}

/// Writes all of the bytes there.
pub(crate) fn at(file: BorrowedFd<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes a block zeros, and a hole where the filesystem can.
pub(crate) fn zero(file: BorrowedFd<'_>, index: u64, length: usize) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, blocks::at(index), BLOCK as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => block(file, index, &vec![0; length]),
        other => Ok(other?),
    }
}

/// Writes zeros there, as a hole where the filesystem can.
pub(crate) fn hole(file: BorrowedFd<'_>, offset: u64, zeros: &[u8]) -> io::Result<()> {
    let length = zeros.len() as u64;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, offset, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return at(file, offset, zeros),
        other => other?,
    }
    if dir::stat(file)?.size < offset + length {
        rustix::fs::ftruncate(file, offset + length)?;
    }
    Ok(())
}

/// Links, devices and the like, in the place of whatever has the name.
pub(crate) fn special(dir: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<()> {
    remove(dir, name)?;
    make_special(dir, name, node)
}

/// A new link, device or the like.
pub(crate) fn make_special(dir: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<()> {
    let device = match node {
        Node::Symlink(target) => {
            return Ok(rustix::fs::symlinkat(OsStr::from_bytes(target), dir, name)?);
        }
        Node::Character { major, minor } | Node::Block { major, minor } => {
            rustix::fs::makedev(*major, *minor)
        }
        _ => 0,
    };
    let kind = file_type(node).ok_or(Errno::INVAL)?;
    Ok(rustix::fs::mknodat(
        dir,
        name,
        kind,
        Mode::RUSR | Mode::WUSR,
        device,
    )?)
}

/// One more name of what `from` in `first` is.
pub(crate) fn link(
    first: BorrowedFd<'_>,
    from: &OsStr,
    dir: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    Ok(rustix::fs::linkat(
        first,
        from,
        dir,
        name,
        AtFlags::empty(),
    )?)
}

/// Gives the entry `name` its attributes, in an order that keeps all of them: the owner first, as changing it drops setuid
/// bits and capabilities; times last.
pub(crate) fn attributes(
    dir: BorrowedFd<'_>,
    path: &RelPath,
    name: &OsStr,
    meta: &Meta,
    is_symlink: bool,
) -> Result<(), TransferError> {
    let failed = || TransferError::io("set the attributes of", path);
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed()(error.into()))?;
    let subject = Subject::Entry(dir, name);
    for there in xattr::list(subject).map_err(failed())? {
        let bytes = there.as_bytes();
        if is_kept(bytes) && !meta.attributes.iter().any(|(known, _)| known == bytes) {
            xattr::remove(subject, &there).map_err(failed())?;
        }
    }
    for (attribute, value) in &meta.attributes {
        match xattr::set(subject, OsStr::from_bytes(attribute), value) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(TransferError::Attribute {
                    path: path.clone(),
                    attribute: String::from_utf8_lossy(attribute).into_owned(),
                });
            }
            Err(error) => return Err(failed()(error)),
        }
    }
    if !is_symlink {
        // Through a descriptor, as changing the mode by name follows links.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|error| failed()(error.into()))?;
        dir::chmod_path(node.as_fd(), meta.mode).map_err(failed())?;
    }
    let time = Timespec {
        tv_sec: meta.seconds,
        tv_nsec: meta.nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed()(error.into()))
}

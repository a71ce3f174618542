//! Moves a staged tree over another one, entry by entry.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

/// What becomes of an entry whose name is taken. Two directories are joined in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Existing {
    /// It replaces what is there; joined directories get the attributes of the staged one.
    Replace,
    /// It is dropped; joined directories keep their attributes.
    Keep,
}

/// Under this name the copy of a file is written, where it cannot be renamed into place.
const INCOMING: &str = ".orlop-incoming";

/// Moves every entry of `from` into `to`, and makes that durable; the attributes of `to` itself are left alone.
///
/// Idempotent: what was moved is not in `from` any more, and what was moved in part still is. Nothing follows links.
/// Where `to` is, or leads to, another filesystem or subvolume than `from`, entries are copied one by one. Files that
/// were links of each other stay so, but for those that a crash came between.
pub(crate) fn into(from: BorrowedFd<'_>, to: BorrowedFd<'_>, existing: Existing) -> io::Result<()> {
    Merge {
        top: to,
        existing,
        path: PathBuf::new(),
        copied: HashMap::new(),
    }
    .entries(from, to)
}

struct Merge<'a> {
    top: BorrowedFd<'a>,
    existing: Existing,
    /// From `top` to where the merge is.
    path: PathBuf,
    /// Files with several names that were copied, and where to.
    copied: HashMap<(u64, u64), PathBuf>,
}

impl Merge<'_> {
    fn entries(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        for entry in sys::dir::read_dir(from)? {
            self.one(from, to, &entry.name)?;
        }
        sys::durable::sync_fd(to)
    }

    fn one(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let stat = sys::dir::stat_at(from, name)?;
        let kind = stat.kind();
        let taken = match sys::dir::stat_at(to, name) {
            Ok(stat) => Some(stat.kind()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match (kind, taken) {
            (FileType::Directory, Some(FileType::Directory)) => {
                return self.join(from, to, name, self.existing == Existing::Replace);
            }
            (_, Some(_)) if self.existing == Existing::Keep => {
                return sys::dir::remove_tree_at(from, name);
            }
            (_, Some(FileType::Directory)) => sys::dir::remove_tree_at(to, name)?,
            // A rename replaces other things by itself, but not by a directory.
            (FileType::Directory, Some(_)) => rustix::fs::unlinkat(to, name, AtFlags::empty())?,
            _ => {}
        }
        match rustix::fs::renameat(from, name, to, name) {
            Err(rustix::io::Errno::XDEV) => {}
            other => return Ok(other?),
        }
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                self.join(from, to, name, true)
            }
            FileType::RegularFile => {
                let inode = (stat.dev, stat.ino);
                if let Some(copy) = self.copied.get(&inode) {
                    link_again(self.top, copy, to, name)?;
                    return Ok(rustix::fs::unlinkat(from, name, AtFlags::empty())?);
                }
                copy_file(from, to, name)?;
                if stat.nlink > 1 {
                    self.copied.insert(inode, self.path.join(name));
                }
                Ok(())
            }
            _ => copy_node(from, to, name, taken.is_some()),
        }
    }

    fn join(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
        attributes: bool,
    ) -> io::Result<()> {
        let (source, target) = (sys::dir::open_at(from, name)?, sys::dir::open_at(to, name)?);
        self.path.push(name);
        self.entries(source.as_fd(), target.as_fd())?;
        self.path.pop();
        if attributes {
            sys::attributes::copy(source.as_fd(), target.as_fd())?;
        }
        Ok(rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR)?)
    }
}

/// Gives the file that was copied to `copy` below `top` one more name.
fn link_again(
    top: BorrowedFd<'_>,
    copy: &Path,
    to: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    let parent = sys::dir::open_deep(top, copy.parent().unwrap_or(Path::new("")))?;
    let first = copy.file_name().ok_or(rustix::io::Errno::INVAL)?;
    discard(to, INCOMING)?;
    rustix::fs::linkat(&parent, first, to, INCOMING, AtFlags::empty())?;
    rustix::fs::renameat(to, INCOMING, to, name)?;
    // Of two names of one file a rename keeps both.
    discard(to, INCOMING)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    discard(to, INCOMING)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(
        to,
        INCOMING,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?);
    io::copy(&mut source, &mut copy)?;
    sys::attributes::copy(source.as_fd(), copy.as_fd())?;
    sys::durable::sync_fd(copy.as_fd())?;
    rustix::fs::renameat(to, INCOMING, to, name)?;
    Ok(rustix::fs::unlinkat(from, name, AtFlags::empty())?)
}

/// Links, devices, fifos, sockets.
fn copy_node(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &OsStr,
    taken: bool,
) -> io::Result<()> {
    if taken {
        discard(to, name)?;
    }
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            rustix::fs::symlinkat(sys::dir::read_link_at(from, name)?, to, name)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?,
    }
    sys::attributes::copy_entry(from, to, name)?;
    Ok(rustix::fs::unlinkat(from, name, AtFlags::empty())?)
}

fn discard(dir: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

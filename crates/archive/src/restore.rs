//! Where members of an archive go, and the attributes that they get there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use sys::dir::{self, Time};
use sys::xattr::Subject;

use crate::extended;
use crate::unpack::make_opaque;

/// Directories that stay open because the next members are likely to be in them.
const OPEN: usize = 16;
const MISSING_MODE: u32 = 0o755;

/// The directories of members, opened inside the target.
pub(crate) struct Parents<'a> {
    root: BorrowedFd<'a>,
    is_layer: bool,
    recent: VecDeque<(PathBuf, Rc<OwnedFd>)>,
}

impl<'a> Parents<'a> {
    /// With `is_layer` a deleted name gives way to a directory that must be there.
    pub(crate) fn new(root: BorrowedFd<'a>, is_layer: bool) -> Self {
        Self {
            root,
            is_layer,
            recent: VecDeque::new(),
        }
    }

    /// The directory `path`, which is made if it is missing.
    pub(crate) fn open(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        match self.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && self.is_layer => {
                self.undelete(path)?;
            }
            other => return other,
        }
        let opened = Rc::new(dir::mkdir_all_in_root(self.root, path, MISSING_MODE)?);
        self.keep(path.to_owned(), Rc::clone(&opened));
        Ok(opened)
    }

    /// The directory `path`, if it is there.
    pub(crate) fn find(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some(at) = self.recent.iter().position(|(known, _)| known == path) {
            let found = self.recent.remove(at).expect("it is there");
            let opened = Rc::clone(&found.1);
            self.recent.push_front(found);
            return Ok(opened);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = Rc::new(dir::open_in_root(self.root, path, flags)?);
        self.keep(path.to_owned(), Rc::clone(&opened));
        Ok(opened)
    }

    pub(crate) fn remember(&mut self, path: &Path, opened: OwnedFd) {
        self.recent.retain(|(known, _)| known != path);
        self.keep(path.to_owned(), Rc::new(opened));
    }

    fn keep(&mut self, path: PathBuf, opened: Rc<OwnedFd>) {
        self.recent.truncate(OPEN - 1);
        self.recent.push_front((path, opened));
    }

    /// After something was removed: paths may lead elsewhere now.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
    }

    /// Replaces the mark of a deleted name on the way to `path` by an opaque directory.
    fn undelete(&self, path: &Path) -> io::Result<()> {
        let mut above = PathBuf::new();
        for name in path {
            let parent = dir::open_in_root(self.root, &above, OFlags::RDONLY | OFlags::DIRECTORY)?;
            if dir::stat_at(parent.as_fd(), name)?.is_whiteout() {
                rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(MISSING_MODE))?;
                return make_opaque(dir::open_at(parent.as_fd(), name)?.as_fd());
            }
            above.push(name);
        }
        Ok(())
    }
}

/// What a member says about its file.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) extended: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    fn times(&self) -> Timestamps {
        let timespec = |time: Time| Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        };
        Timestamps {
            last_access: self.atime.map_or(
                Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_OMIT,
                },
                timespec,
            ),
            last_modification: timespec(self.mtime),
        }
    }

    /// For an open file or directory. The owner comes first, as changing it drops setuid bits and capabilities.
    pub(crate) fn set_open(&self, fd: BorrowedFd<'_>, kind: FileType) -> io::Result<()> {
        let now = dir::stat(fd)?;
        if (now.uid, now.gid) != (self.uid, self.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid))?;
        }
        extended::set(Subject::Open(fd), kind, &self.extended)?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode))?;
        rustix::fs::futimens(fd, &self.times())?;
        Ok(())
    }

    /// For a new link, device or fifo.
    pub(crate) fn set_entry(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
    ) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        extended::set(Subject::Entry(dir, name), kind, &self.extended)?;
        if kind != FileType::Symlink {
            // Through a descriptor, as changing the mode by name follows links.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            dir::chmod_path(node.as_fd(), self.mode)?;
        }
        rustix::fs::utimensat(dir, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

/// Directories whose attributes are set when nothing is put into them any more.
#[derive(Debug, Default)]
pub(crate) struct Directories(Vec<Pending>);

#[derive(Debug)]
struct Pending {
    path: PathBuf,
    inode: (u64, u64),
    attributes: Attributes,
}

impl Directories {
    /// Sets extended attributes at once, so that they do not fill the memory; only ACLs wait, because new entries of the
    /// directory would inherit them.
    pub(crate) fn add(
        &mut self,
        path: PathBuf,
        opened: BorrowedFd<'_>,
        mut attributes: Attributes,
    ) -> io::Result<()> {
        let (acls, others): (Vec<_>, Vec<_>) = attributes
            .extended
            .into_iter()
            .partition(|(name, _)| name.as_bytes().starts_with(b"system."));
        extended::set(Subject::Open(opened), FileType::Directory, &others)?;
        attributes.extended = acls;
        let stat = dir::stat(opened)?;
        self.0.push(Pending {
            path,
            inode: (stat.dev, stat.ino),
            attributes,
        });
        Ok(())
    }

    /// Sets the attributes of those that are still there.
    ///
    /// # Errors
    /// With the path.
    pub(crate) fn finish(&mut self, root: BorrowedFd<'_>) -> Result<(), (PathBuf, io::Error)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        for Pending {
            path,
            inode,
            attributes,
        } in self.0.drain(..)
        {
            let set = match dir::open_in_root(root, &path, flags) {
                Ok(opened) => match dir::stat(opened.as_fd()) {
                    Ok(stat) if (stat.dev, stat.ino) == inode => {
                        attributes.set_open(opened.as_fd(), FileType::Directory)
                    }
                    // A later member took its place.
                    Ok(_) => Ok(()),
                    Err(error) => Err(error),
                },
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    _ => Err(error),
                },
            };
            set.map_err(|error| (path, error))?;
        }
        Ok(())
    }
}

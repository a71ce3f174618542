//! Trees as they are: the entries of a walk, and all that is known of one.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::descent::{Descent, Mounts};
use sys::dir::{self, Stat};
use sys::is_gone;
use sys::xattr::{self, Subject};

use crate::entry::{Meta, Node, is_kept};
use crate::error::TransferError;
use crate::path::RelPath;

/// An entry that a walk has met.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: RelPath,
    pub(crate) stat: Stat,
}

/// Every entry of the tree in order, the root first. What vanishes meanwhile is left out.
pub(crate) fn list(root: BorrowedFd<'_>) -> Result<Vec<Found>, TransferError> {
    let top = RelPath::default();
    let failed = |path: &RelPath| TransferError::io("list", path);
    let mut walk = Descent::new(root, Mounts::Cross).map_err(failed(&top))?;
    let mut found = vec![Found {
        stat: dir::stat(walk.dir()).map_err(failed(&top))?,
        path: top.clone(),
    }];
    let mut ahead = vec![(names(walk.dir()).map_err(failed(&top))?, top)];
    while let Some((names_left, here)) = ahead.last_mut() {
        let Some(name) = names_left.pop() else {
            ahead.pop();
            if walk.depth() > 0 {
                let left = ahead
                    .last()
                    .map(|(_, path)| path.clone())
                    .unwrap_or_default();
                walk.leave().map_err(failed(&left))?;
            }
            continue;
        };
        let path = here.child(&name);
        let stat = match dir::stat_at(walk.dir(), &name) {
            Err(error) if is_gone(&error) => continue,
            other => other.map_err(failed(&path))?,
        };
        if stat.kind() != FileType::Directory {
            found.push(Found { path, stat });
            continue;
        }
        match walk.enter(&name) {
            Err(error) if is_gone(&error) => continue,
            other => other.map_err(failed(&path))?,
        }
        let below = match names(walk.dir()) {
            Err(error) if is_gone(&error) => {
                let left = path.parent().unwrap_or_default();
                walk.leave().map_err(failed(&left))?;
                continue;
            }
            other => other.map_err(failed(&path))?,
        };
        found.push(Found {
            path: path.clone(),
            stat,
        });
        ahead.push((below, path));
    }
    Ok(found)
}

/// The last name first.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names: Vec<OsString> = dir::read_dir(dir)?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Directories by path, of which the last one asked for stays open.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    root: BorrowedFd<'a>,
    open: Option<(RelPath, OwnedFd)>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, open: None }
    }

    /// The directory `path`; no link on the way is followed.
    pub(crate) fn directory(&mut self, path: &RelPath) -> io::Result<BorrowedFd<'_>> {
        if path.is_root() {
            return Ok(self.root);
        }
        if self.open.as_ref().is_none_or(|(known, _)| known != path) {
            self.open = None;
            let directory = dir::open_deep(self.root, path.as_path())?;
            self.open = Some((path.clone(), directory));
        }
        let (_, directory) = self.open.as_ref().expect("it has just been opened");
        Ok(directory.as_fd())
    }

    /// The directory that holds `path`; the root holds itself, as `.`.
    pub(crate) fn parent(&mut self, path: &RelPath) -> io::Result<BorrowedFd<'_>> {
        self.directory(&path.parent().unwrap_or_default())
    }

    /// The directory that holds `path`, opened for the caller alone.
    pub(crate) fn apart(&self, path: &RelPath) -> io::Result<OwnedFd> {
        dir::open_deep(self.root, path.parent().unwrap_or_default().as_path())
    }

    /// What was removed must not stay open.
    pub(crate) fn forget(&mut self) {
        self.open = None;
    }

    /// As [`Places::forget`], when it is `path` or below it.
    pub(crate) fn forget_below(&mut self, path: &RelPath) {
        let known = self.open.as_ref();
        if known.is_some_and(|(known, _)| known.as_path().starts_with(path.as_path())) {
            self.open = None;
        }
    }
}

/// Owner, mode, times and attributes.
pub(crate) fn meta(dir: BorrowedFd<'_>, found: &Found) -> io::Result<Meta> {
    let subject = Subject::Entry(dir, found.path.name());
    let mut attributes = Vec::new();
    for name in xattr::list(subject)? {
        if is_kept(name.as_bytes())
            && let Some(value) = xattr::get(subject, &name)?
        {
            attributes.push((name.as_bytes().to_vec(), value));
        }
    }
    attributes.sort_unstable();
    let stat = &found.stat;
    Ok(Meta {
        mode: stat.permissions(),
        uid: stat.uid,
        gid: stat.gid,
        seconds: stat.mtime.seconds,
        nanoseconds: stat.mtime.nanoseconds,
        attributes,
    })
}

/// [`meta`] of an entry that others may replace. One that has been is gone: a link with the attributes of a file could be made
/// nowhere.
pub(crate) fn living_meta(dir: BorrowedFd<'_>, found: &Found) -> io::Result<Meta> {
    let meta = meta(dir, found)?;
    let now = dir::stat_at(dir, found.path.name())?;
    let identity = |stat: &Stat| (stat.dev, stat.ino, stat.kind());
    if identity(&now) == identity(&found.stat) {
        Ok(meta)
    } else {
        Err(Errno::NOENT.into())
    }
}

/// What it is; files with several names are told apart by [`Names`].
pub(crate) fn node(dir: BorrowedFd<'_>, found: &Found) -> io::Result<Node> {
    let stat = &found.stat;
    let (major, minor) = (rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev));
    Ok(match stat.kind() {
        FileType::Directory => Node::Directory,
        FileType::RegularFile => Node::File { size: stat.size },
        FileType::Symlink => Node::Symlink(link_target(dir, found.path.name())?),
        FileType::CharacterDevice => Node::Character { major, minor },
        FileType::BlockDevice => Node::Block { major, minor },
        FileType::Fifo => Node::Fifo,
        _ => Node::Socket,
    })
}

fn link_target(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Vec<u8>> {
    match dir::read_link_at(dir, name) {
        Ok(target) => Ok(target.as_bytes().to_vec()),
        // It is something else by now.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Errno::NOENT.into()),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading; nothing that is not a file is waited for.
pub(crate) fn open(dir: BorrowedFd<'_>, found: &Found) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Reading a volume in order to copy it is no use of it.
    let opened = rustix::fs::openat(
        dir,
        found.path.name(),
        flags | OFlags::NOATIME,
        Mode::empty(),
    );
    Ok(match opened {
        Err(Errno::PERM) => rustix::fs::openat(dir, found.path.name(), flags, Mode::empty())?,
        other => other?,
    })
}

/// Files with several names, in one walk: the first one stands for the file.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<(u64, u64), RelPath>);

impl Names {
    /// The name under which the walk has met this inode before.
    pub(crate) fn first(&mut self, found: &Found) -> Option<RelPath> {
        let stat = &found.stat;
        if stat.nlink < 2 || stat.kind() == FileType::Directory {
            return None;
        }
        match self.0.entry((stat.dev, stat.ino)) {
            std::collections::hash_map::Entry::Occupied(known) => Some(known.get().clone()),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(found.path.clone());
                None
            }
        }
    }

    /// It was not sent after all.
    pub(crate) fn forget(&mut self, found: &Found) {
        let key = (found.stat.dev, found.stat.ino);
        if self.0.get(&key) == Some(&found.path) {
            self.0.remove(&key);
        }
    }
}

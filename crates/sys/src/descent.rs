//! Going down and up a tree of any depth with a bounded number of descriptors, without following links.
//!
//! Only the lowest directories stay open. A directory higher up is opened again through `..` and must be the one that
//! was left, so that a tree that somebody moves meanwhile ends the walk with an error instead of leading it elsewhere.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How many directories of the path stay open.
const OPEN: usize = 32;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Whether a directory on which something is mounted may be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    Cross,
    /// Entering fails with `EXDEV`.
    Refuse,
}

/// A position in a tree.
#[derive(Debug)]
pub struct Descent {
    frames: Vec<Frame>,
    mounts: Mounts,
}

#[derive(Debug)]
struct Frame {
    name: OsString,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Open(OwnedFd),
    Left { dev: u64, ino: u64 },
}

impl Descent {
    /// Starts in `root`, which may have been opened with `O_PATH`.
    pub fn new(root: BorrowedFd<'_>, mounts: Mounts) -> io::Result<Self> {
        let root = rustix::fs::openat(root, c".", DIRECTORY, Mode::empty())?;
        Ok(Self {
            frames: vec![Frame {
                name: OsString::new(),
                place: Place::Open(root),
            }],
            mounts,
        })
    }

    /// The directory in which the walk is.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        match &self.frames[self.frames.len() - 1].place {
            Place::Open(fd) => fd.as_fd(),
            Place::Left { .. } => unreachable!("the lowest directory is always open"),
        }
    }

    /// How many directories below the root; 0 in the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    /// The path from the root; empty in the root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.frames[1..].iter().map(|frame| &frame.name).collect()
    }

    /// Goes down into the directory `name`.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` for anything but a directory, `EXDEV` for a mount point that must not be crossed.
    pub fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if self.mounts == Mounts::Refuse {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let fd =
            retrying(|| rustix::fs::openat2(self.dir(), name, DIRECTORY, Mode::empty(), resolve))?;
        if let Some(frame) = self
            .frames
            .len()
            .checked_sub(OPEN)
            .map(|at| &mut self.frames[at])
            && let Place::Open(fd) = &frame.place
        {
            let stat = rustix::fs::fstat(fd)?;
            frame.place = Place::Left {
                dev: stat.st_dev,
                ino: stat.st_ino,
            };
        }
        self.frames.push(Frame {
            name: name.to_owned(),
            place: Place::Open(fd),
        });
        Ok(())
    }

    /// Goes up by one; returns the name of the directory that was left.
    ///
    /// # Errors
    /// `ESTALE` when that directory is no longer where it was.
    ///
    /// # Panics
    /// In the root.
    pub fn leave(&mut self) -> io::Result<OsString> {
        assert!(self.depth() > 0, "the root cannot be left");
        let below = self.frames.pop().expect("there is a frame below the root");
        let above = self.frames.last_mut().expect("the root stays");
        if let Place::Left { dev, ino } = above.place {
            let Place::Open(below) = below.place else {
                unreachable!("the lowest directory is always open")
            };
            let fd = rustix::fs::openat(below, c"..", DIRECTORY, Mode::empty())?;
            let stat = rustix::fs::fstat(&fd)?;
            if (stat.st_dev, stat.st_ino) != (dev, ino) {
                return Err(Errno::STALE.into());
            }
            above.place = Place::Open(fd);
        }
        Ok(below.name)
    }
}

/// `openat2` answers EAGAIN when names on its way are renamed at the same time.
pub(crate) fn retrying(
    mut open: impl FnMut() -> rustix::io::Result<OwnedFd>,
) -> rustix::io::Result<OwnedFd> {
    for _ in 0..128 {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    open()
}

//! What an upper directory of an overlay mount changes in the tree below it, as `docker diff` lists it.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;
use sys::descent::{Descent, Mounts};
use sys::dir::{self, Stat};
use sys::xattr::Subject;

use crate::extended;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

/// One changed path, which begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub path: PathBuf,
}

/// Why the trees could not be compared.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare {}", path.display())]
pub struct ChangeError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Lists what `upper` adds to, modifies in and deletes from the tree `lower`, sorted by path.
///
/// A directory above something that was changed counts as modified. A directory that is in both counts only if
/// something in it was changed, or its own owner, mode or times were.
///
/// # Errors
/// When either tree cannot be read.
pub fn changes(upper: BorrowedFd<'_>, lower: BorrowedFd<'_>) -> Result<Vec<Change>, ChangeError> {
    let failed = |source| ChangeError {
        path: PathBuf::from("/"),
        source,
    };
    let mut comparing = Comparing {
        upper: Descent::new(upper, Mounts::Refuse).map_err(failed)?,
        lower: Descent::new(lower, Mounts::Cross).map_err(failed)?,
        changes: Vec::new(),
        noted: HashSet::new(),
    };
    let mut ahead = vec![comparing.level(true)?];
    while let Some(level) = ahead.last_mut() {
        let in_lower = level.in_lower;
        if let Some(name) = level.directories.pop() {
            let next = comparing.descend(&name, in_lower)?;
            ahead.extend(next);
        } else {
            ahead.pop();
            if !ahead.is_empty() {
                comparing.leave(in_lower)?;
            }
        }
    }
    let mut changes = comparing.changes;
    // Bytes, not components, as Docker does.
    changes.sort_unstable_by(|one, other| {
        one.path
            .as_os_str()
            .as_bytes()
            .cmp(other.path.as_os_str().as_bytes())
    });
    Ok(changes)
}

struct Comparing {
    upper: Descent,
    /// In the same directory as `upper`, or in the last one above that is in both.
    lower: Descent,
    changes: Vec<Change>,
    /// Directories in `changes`, as relative paths.
    noted: HashSet<PathBuf>,
}

/// A directory that is being compared.
struct Level {
    directories: Vec<OsString>,
    in_lower: bool,
}

impl Comparing {
    fn path(&self, name: &OsStr) -> PathBuf {
        Path::new("/").join(self.upper.path()).join(name)
    }

    fn add(&mut self, kind: ChangeKind, name: &OsStr) {
        let path = self.path(name);
        self.changes.push(Change { kind, path });
        self.modified(self.upper.path());
    }

    /// The directory, a relative path, and those above it are modified unless something is known about them already.
    fn modified(&mut self, mut directory: PathBuf) {
        while !directory.as_os_str().is_empty() && self.noted.insert(directory.clone()) {
            let path = Path::new("/").join(&directory);
            self.changes.push(Change {
                kind: ChangeKind::Modified,
                path,
            });
            directory.pop();
        }
    }

    /// Compares the entries of the directory where the walk is, except directories that are in upper.
    fn level(&mut self, in_lower: bool) -> Result<Level, ChangeError> {
        let here = Path::new("/").join(self.upper.path());
        let failed = |source| ChangeError {
            path: here.clone(),
            source,
        };
        let entries = dir::read_dir(self.upper.dir()).map_err(failed)?;
        let opaque = extended::read(Subject::Open(self.upper.dir()))
            .map_err(failed)?
            .is_opaque;
        if opaque && in_lower {
            for below in dir::read_dir(self.lower.dir()).map_err(failed)? {
                if !entries.iter().any(|entry| entry.name == below.name) {
                    self.add(ChangeKind::Deleted, &below.name);
                }
            }
        }
        let mut directories = Vec::new();
        for entry in entries {
            if entry.kind == FileType::Directory {
                directories.push(entry.name);
                continue;
            }
            let Some(stat) = look(self.upper.dir(), &entry.name).map_err(failed)? else {
                continue;
            };
            let below = if in_lower {
                look(self.lower.dir(), &entry.name).map_err(failed)?
            } else {
                None
            };
            match (stat.is_whiteout(), below) {
                (true, None) => {}
                (true, Some(_)) => self.add(ChangeKind::Deleted, &entry.name),
                (false, None) => self.add(ChangeKind::Added, &entry.name),
                (false, Some(_)) => self.add(ChangeKind::Modified, &entry.name),
            }
        }
        Ok(Level {
            directories,
            in_lower,
        })
    }

    /// Goes into the directory `name` of upper; `None` when it has vanished.
    fn descend(&mut self, name: &OsStr, in_lower: bool) -> Result<Option<Level>, ChangeError> {
        let path = self.path(name);
        let failed = |source| ChangeError {
            path: path.clone(),
            source,
        };
        let Some(stat) = look(self.upper.dir(), name).map_err(failed)? else {
            return Ok(None);
        };
        let below = if in_lower {
            look(self.lower.dir(), name).map_err(failed)?
        } else {
            None
        };
        match self.upper.enter(name) {
            Ok(()) => {}
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
                _ => return Err(failed(error)),
            },
        }
        let both = below.filter(|below| below.kind() == FileType::Directory);
        if both.is_some() {
            self.lower.enter(name).map_err(failed)?;
        }
        let kind = match (&below, &both) {
            (None, _) => Some(ChangeKind::Added),
            (Some(_), Some(both)) if is_same(&stat, both) => None,
            (Some(_), _) => Some(ChangeKind::Modified),
        };
        if let Some(kind) = kind {
            let mut directory = self.upper.path();
            self.noted.insert(directory.clone());
            self.changes.push(Change { kind, path });
            directory.pop();
            self.modified(directory);
        }
        self.level(both.is_some()).map(Some)
    }

    fn leave(&mut self, in_lower: bool) -> Result<(), ChangeError> {
        let path = Path::new("/").join(self.upper.path());
        let left = self.upper.leave().and_then(|_| {
            if in_lower {
                self.lower.leave().map(drop)
            } else {
                Ok(())
            }
        });
        left.map_err(|source| ChangeError { path, source })
    }
}

fn look(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Stat>> {
    match dir::stat_at(dir, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A directory is copied up with all of this when something in it is.
fn is_same(upper: &Stat, lower: &Stat) -> bool {
    (upper.mode, upper.uid, upper.gid, upper.mtime)
        == (lower.mode, lower.uid, lower.gid, lower.mtime)
}

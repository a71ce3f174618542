//! Removing a tree of any size and depth without following links and without touching what is mounted in it.
//!
//! Steps: 1. in each directory, unlink everything but directories; 2. go down into each of these; 3. on the way up,
//! remove the emptied directory, once more from step 1 if something new is in it. Interrupted anywhere, it can be
//! started again. A mount ends it with an error; what is behind the mount stays untouched. A btrfs subvolume goes as a
//! whole, also one that is read-only.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::descent::{Descent, Mounts};
use crate::{btrfs, dir};

/// How often a directory is emptied that others keep filling.
const MOST_SWEEPS: u32 = 16;

/// Why a tree could not be removed. Functions return it inside an [`io::Error`] of the fitting kind.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("something is mounted on {}", path.display())]
    Mounted { path: PathBuf },
    #[error("{} is immutable or append-only (chattr)", path.display())]
    Immutable { path: PathBuf },
    #[error("others keep writing to {}", path.display())]
    Busy { path: PathBuf },
    #[error("cannot remove {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Removes the directory or file `path` with all that is in it.
///
/// # Errors
/// `NotFound` when there is none; otherwise as [`remove_tree_at`].
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    remove_tree_at(dir::open(parent)?.as_fd(), name)
}

/// Removes the entry `name` of `dir` with all that is in it.
///
/// # Errors
/// `NotFound` when there is none; `ResourceBusy` when something is mounted in it or others keep writing to it;
/// `PermissionDenied` for immutable files. Each names the path below `dir`; see [`RemoveError`].
pub fn remove_tree_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let kind = dir::stat_at(dir, name)?.kind();
    let mut walk = Descent::new(dir, Mounts::Refuse)?;
    if kind != FileType::Directory {
        return unlink(&walk, name);
    }
    remove_directory(&mut walk, name.to_owned())
}

/// Removes everything in `dir`, which stays.
///
/// # Errors
/// As [`remove_tree_at`].
pub fn remove_contents(dir: BorrowedFd<'_>) -> io::Result<()> {
    let mut walk = Descent::new(dir, Mounts::Refuse)?;
    for name in sweep(&walk)? {
        remove_directory(&mut walk, name)?;
    }
    Ok(())
}

/// A directory that is being emptied.
struct Level {
    directories: Vec<OsString>,
    sweeps: u32,
}

fn remove_directory(walk: &mut Descent, name: OsString) -> io::Result<()> {
    let mut levels = Vec::new();
    descend(walk, &mut levels, &name, 1)?;
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.directories.pop() {
            descend(walk, &mut levels, &name, 1)?;
            continue;
        }
        let sweeps = level.sweeps;
        levels.pop();
        let name = walk.leave().map_err(|source| {
            failure(RemoveError::Io {
                path: walk.path(),
                source,
            })
        })?;
        match rustix::fs::unlinkat(walk.dir(), &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if sweeps < MOST_SWEEPS => {
                descend(walk, &mut levels, &name, sweeps + 1)?;
            }
            Err(error) => return Err(explain(walk, &name, error)),
        }
    }
    Ok(())
}

fn descend(
    walk: &mut Descent,
    levels: &mut Vec<Level>,
    name: &OsStr,
    sweeps: u32,
) -> io::Result<()> {
    match walk.enter(name) {
        Ok(()) => {
            if is_subvolume(walk)? && remove_subvolume(walk)? {
                return Ok(());
            }
            let directories = sweep(walk)?;
            levels.push(Level {
                directories,
                sweeps,
            });
            Ok(())
        }
        // Somebody else has removed it, or put something else in its place.
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Ok(()),
            Some(Errno::NOTDIR | Errno::LOOP) => unlink(walk, name),
            Some(errno) => Err(explain(walk, name, errno)),
            None => Err(failure(RemoveError::Io {
                path: walk.path().join(name),
                source: error,
            })),
        },
    }
}

fn is_subvolume(walk: &Descent) -> io::Result<bool> {
    btrfs::is_subvolume(walk.dir()).map_err(|source| {
        failure(RemoveError::Io {
            path: walk.path(),
            source,
        })
    })
}

/// Removes the subvolume in which the walk is and leaves it. False: it must be emptied first, and can be now.
fn remove_subvolume(walk: &mut Descent) -> io::Result<bool> {
    let path = walk.path();
    let told = |source| {
        failure(RemoveError::Io {
            path: path.clone(),
            source,
        })
    };
    // The kernel would take away, everywhere, what is mounted in it.
    if mounted_below(walk.dir()).map_err(told)? {
        return Err(failure(RemoveError::Mounted { path }));
    }
    let root = dir::open_at(walk.dir(), OsStr::new(".")).map_err(told)?;
    let name = walk.leave().map_err(told)?;
    if btrfs::delete_subvolume(walk.dir(), &name).is_ok() {
        return Ok(true);
    }
    // Subvolumes in it, or no right to remove it as a whole: the walk goes on, and says what it cannot do.
    if let Err(error) = btrfs::set_read_only(root.as_fd(), false) {
        tracing::debug!(path = %path.display(), %error, "a subvolume cannot be made writable");
    }
    walk.enter(&name).map_err(told)?;
    Ok(false)
}

fn mounted_below(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    let mut below = path.as_os_str().as_bytes().to_vec();
    below.push(b'/');
    // Blanks and the like are escaped in the table.
    let below: Vec<u8> = below
        .iter()
        .flat_map(|&byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            byte => vec![byte],
        })
        .collect();
    let table = std::fs::read("/proc/thread-self/mountinfo")?;
    Ok(table.split(|&byte| byte == b'\n').any(|line| {
        line.split(|&byte| byte == b' ')
            .nth(4)
            .is_some_and(|point| point.starts_with(&below))
    }))
}

/// Unlinks what is no directory; returns the directories.
fn sweep(walk: &Descent) -> io::Result<Vec<OsString>> {
    let entries = dir::read_dir(walk.dir()).map_err(|source| {
        failure(RemoveError::Io {
            path: walk.path(),
            source,
        })
    })?;
    let mut directories = Vec::new();
    for entry in entries {
        if entry.kind == FileType::Directory {
            directories.push(entry.name);
        } else {
            unlink(walk, &entry.name)?;
        }
    }
    Ok(directories)
}

fn unlink(walk: &Descent, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(walk.dir(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(explain(walk, name, error)),
    }
}

fn explain(walk: &Descent, name: &OsStr, error: Errno) -> io::Error {
    let path = walk.path().join(name);
    failure(match error {
        Errno::XDEV | Errno::BUSY => RemoveError::Mounted { path },
        Errno::NOTEMPTY | Errno::EXIST => RemoveError::Busy { path },
        Errno::PERM if immutable(walk.dir(), OsStr::new(".")) => {
            RemoveError::Immutable { path: walk.path() }
        }
        Errno::PERM if immutable(walk.dir(), name) => RemoveError::Immutable { path },
        error => RemoveError::Io {
            path,
            source: error.into(),
        },
    })
}

fn immutable(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    dir::stat_at(dir, name)
        .is_ok_and(|stat| matches!(stat.kind(), FileType::Directory | FileType::RegularFile))
        && rustix::fs::openat(dir, name, flags, Mode::empty())
            .and_then(rustix::fs::ioctl_getflags)
            .is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

fn failure(error: RemoveError) -> io::Error {
    let kind = match &error {
        RemoveError::Mounted { .. } | RemoveError::Busy { .. } => io::ErrorKind::ResourceBusy,
        RemoveError::Immutable { .. } => io::ErrorKind::PermissionDenied,
        RemoveError::Io { source, .. } => source.kind(),
    };
    io::Error::new(kind, error)
}

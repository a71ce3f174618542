//! Directories by descriptor: looking up paths that cannot lead out, reading, measuring and removing trees.
//!
//! A path from outside (an archive, a container) is always resolved by the kernel below a root descriptor; `..` and
//! links, absolute ones too, stay inside. No function here follows a link that it was not asked to resolve.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

pub use rustix::fs::FileType;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::descent::{Descent, Mounts, retrying};

pub use crate::remove_tree::{RemoveError, remove_contents, remove_tree, remove_tree_at};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// Opens the directory `path` for reading; links in `path` are followed.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// Opens the directory `name` in `dir` for reading; a link is refused. `.` opens `dir` again, also one that was opened
/// with `O_PATH`.
pub fn open_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        dir,
        name,
        DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

/// Opens `path` below `dir`: links may be used as long as they stay below, absolute ones and `..` out of `dir` fail with
/// `EXDEV`. `flags` must not create.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_resolved(
        dir,
        path,
        flags,
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens `path` as a process would whose root is `root`. `flags` must not create.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_resolved(
        root,
        path,
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn open_resolved(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = flags | OFlags::CLOEXEC;
    Ok(retrying(|| {
        rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)
    })?)
}

/// Resolves all of `path` but its last component: the directory inside `root`, open for reading, and the name in it,
/// which need not exist and may be a link.
///
/// # Errors
/// `InvalidInput` for a path without a last name (`/`, `.`, `a/..`).
pub fn resolve_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    Ok((open_in_root(root, parent, DIRECTORY)?, name.to_owned()))
}

/// Opens the directory `path` inside `root` and makes what is missing of it with exactly `mode`, owned by the caller.
/// A link to something missing makes what it points to, inside the root.
///
/// # Errors
/// `NotADirectory` when something else is in the way; `ELOOP` for too many links.
pub fn mkdir_all_in_root(root: BorrowedFd<'_>, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    match open_in_root(root, path, DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    // Components still to go, next one last.
    let mut ahead: Vec<OsString> = steps(path);
    // Names of real directories from the root to `current`.
    let mut behind: Vec<OsString> = Vec::new();
    let mut current = open_at(root, OsStr::new("."))?;
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            behind.pop();
            let above: PathBuf = behind.iter().collect();
            current = open_resolved(
                root,
                &above,
                DIRECTORY,
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            )?;
            continue;
        }
        let next = match open_at(current.as_fd(), &step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&current, &step, Mode::from_raw_mode(mode)) {
                    // The umask has taken bits away.
                    Ok(()) => rustix::fs::chmodat(
                        &current,
                        &step,
                        Mode::from_raw_mode(mode),
                        AtFlags::empty(),
                    )?,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open_at(current.as_fd(), &step)
            }
            other => other,
        };
        match next {
            Ok(directory) => {
                current = directory;
                behind.push(step);
            }
            // A link gives ELOOP or ENOTDIR.
            Err(error) => {
                let Ok(target) = read_link_at(current.as_fd(), &step) else {
                    return Err(error);
                };
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = Path::new(&target);
                if target.is_absolute() {
                    behind.clear();
                    current = open_at(root, OsStr::new("."))?;
                }
                ahead.extend(steps(target));
            }
        }
    }
    Ok(current)
}

/// The components of `path` in reverse, without those that say nothing.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Opens the directory `path` below `root` without following any link; the path may be longer than the kernel takes at
/// once.
pub fn open_deep(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    const AT_ONCE: usize = 15;
    let names: Vec<&OsStr> = path.iter().collect();
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut current = open_at(root, OsStr::new("."))?;
    for some in names.chunks(AT_ONCE) {
        let part: PathBuf = some.iter().collect();
        current = open_resolved(current.as_fd(), &part, DIRECTORY, resolve)?;
    }
    Ok(current)
}

/// Where a symbolic link points; `EINVAL` of what is no link.
pub fn read_link_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OsString> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub kind: FileType,
}

/// The entries of `dir` in no order, without `.` and `..`. `dir` may have been opened with `O_PATH`.
pub fn read_dir(dir: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match stat_at(dir, OsStr::from_bytes(name)) {
                Ok(stat) => stat.kind(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            },
            kind => kind,
        };
        entries.push(Entry {
            name: OsStr::from_bytes(name).to_owned(),
            kind,
        });
    }
    Ok(entries)
}

/// What `stat` tells, with the same types on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    /// Of 512 bytes.
    pub blocks: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
}

/// Seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Stat {
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// The mode without the type.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// How overlay mounts mark a deleted name.
    #[must_use]
    pub fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.rdev == 0
    }
}

impl From<rustix::fs::Stat> for Stat {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the field is narrower on other machines"
    )]
    fn from(stat: rustix::fs::Stat) -> Self {
        let time = |seconds: i64, nanoseconds: u64| Time {
            seconds,
            nanoseconds: nanoseconds as u32,
        };
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            mode: stat.st_mode,
            nlink: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev,
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Of an open file, also one opened with `O_PATH`.
pub fn stat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(fd)?.into())
}

/// Of an entry of a directory; a link stands for itself.
pub fn stat_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.into())
}

/// Sets the permissions of anything that was opened with `O_PATH`, but a symbolic link. Needs `/proc`.
pub fn chmod_path(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
}

/// What a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeSize {
    /// Allocated for everything but directories; a file with several names in the tree counts once.
    pub bytes: u64,
    /// Names, the root excluded.
    pub entries: u64,
}

/// [`tree_size_at`] of a directory by path.
pub fn tree_size(path: &Path) -> io::Result<TreeSize> {
    tree_size_at(open(path)?.as_fd())
}

/// Measures what is below `root`. Whatever is mounted there is left out; what vanishes meanwhile is not an error.
pub fn tree_size_at(root: BorrowedFd<'_>) -> io::Result<TreeSize> {
    let size = tree_size_while(root, &mut |_| true)?;
    Ok(size.expect("nobody ends it"))
}

/// [`tree_size_at`] that `go_on` is asked about again and again, with the number of entries so far; `None` when it said no.
pub fn tree_size_while(
    root: BorrowedFd<'_>,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Option<TreeSize>> {
    let mut measure = Measure {
        size: TreeSize::default(),
        linked: HashSet::new(),
        go_on,
    };
    let mut walk = Descent::new(root, Mounts::Refuse)?;
    let Some(first) = measure.directory(walk.dir())? else {
        return Ok(None);
    };
    let mut ahead = vec![first];
    while let Some(names) = ahead.last_mut() {
        let Some(name) = names.pop() else {
            ahead.pop();
            if walk.depth() > 0 {
                walk.leave()?;
            }
            continue;
        };
        match walk.enter(&name) {
            Ok(()) => match measure.directory(walk.dir())? {
                Some(names) => ahead.push(names),
                None => return Ok(None),
            },
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::XDEV | Errno::NOTDIR | Errno::LOOP) => {}
                _ => return Err(error),
            },
        }
    }
    Ok(Some(measure.size))
}

/// Entries between two questions whether to go on.
const UNASKED: u64 = 1024;

struct Measure<'a> {
    size: TreeSize,
    /// Files with several names that are counted.
    linked: HashSet<(u64, u64)>,
    go_on: &'a mut dyn FnMut(u64) -> bool,
}

impl Measure<'_> {
    /// Counts the entries of `dir`; returns its directories, or `None` when it is to end.
    fn directory(&mut self, dir: BorrowedFd<'_>) -> io::Result<Option<Vec<OsString>>> {
        let mut directories = Vec::new();
        for entry in read_dir(dir)? {
            self.size.entries += 1;
            if self.size.entries.is_multiple_of(UNASKED) && !(self.go_on)(self.size.entries) {
                return Ok(None);
            }
            if entry.kind == FileType::Directory {
                directories.push(entry.name);
                continue;
            }
            let stat = match stat_at(dir, &entry.name) {
                Ok(stat) => stat,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if stat.nlink < 2 || self.linked.insert((stat.dev, stat.ino)) {
                self.size.bytes += stat.blocks * 512;
            }
        }
        Ok(Some(directories))
    }
}

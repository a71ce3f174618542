//! `diff`: what changed in a volume between a snapshot and another one, or the present.
//!
//! Both trees are walked side by side. Two files are the same if type, owner, mode, length, time of change and extended attributes
//! (ACLs and capabilities among them) are; when only the times differ their bytes decide. Of directories times do not count: what
//! changed in them is told by itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use sys::descent::{Descent, Mounts};
use sys::dir::Stat;
use sys::xattr::{self, Subject};

use super::SnapshotError;
use crate::{Volumes, open_directory};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

impl ChangeKind {
    /// The letter in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "A",
            Self::Modified => "M",
            Self::Deleted => "D",
        }
    }
}

/// One entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    /// From the root of the volume, absolute.
    pub path: PathBuf,
    /// What is there now is of another type than what was.
    pub retyped: bool,
}

impl Volumes {
    /// What is different in the snapshot `to`, or in the present, from the snapshot `from`; in order of the paths'
    /// directories. What changes meanwhile is told as it was when it was looked at.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::Compare`], those of the volume.
    pub fn diff_snapshots(
        &self,
        volume: &str,
        from: &str,
        to: Option<&str>,
    ) -> Result<Vec<Change>, SnapshotError> {
        let volume = self.row(volume)?;
        let tree = |name: &str| -> Result<PathBuf, SnapshotError> {
            let row = self.snapshot_row(&volume, name)?;
            let tree = self.paths.snapshot(&volume.id, &row.id);
            self.expose(&volume, &tree)?;
            Ok(tree)
        };
        let old = tree(from)?;
        let new = match to {
            Some(name) => tree(name)?,
            None => {
                let content = self.paths.volume_content(&volume.id);
                self.expose(&volume, &content)?;
                content
            }
        };
        compare(&old, &new)
    }
}

/// On which side a directory is that is still to be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Old,
    New,
}

impl Side {
    fn has_old(self) -> bool {
        self != Self::New
    }

    fn has_new(self) -> bool {
        self != Self::Old
    }
}

/// A directory whose subdirectories are being gone through.
struct Level {
    side: Side,
    ahead: Vec<(OsString, Side)>,
}

fn compare(old: &Path, new: &Path) -> Result<Vec<Change>, SnapshotError> {
    let open = |path: &Path| open_directory(path).map_err(SnapshotError::io("open", path));
    let unwatched = |_| ControlFlow::Continue(());
    compare_trees(
        open(old)?.as_fd(),
        open(new)?.as_fd(),
        Same::ByTime,
        &unwatched,
    )
    .map_err(|error| match error {
        Uncompared::Failed { path, source } => SnapshotError::Compare { path, source },
        Uncompared::Stopped => SnapshotError::Cancelled,
    })
}

/// Called for each entry and each MiB, with the bytes of files that were looked at since the last call; a break ends the
/// comparison.
pub(crate) type Looking<'a> = dyn Fn(u64) -> ControlFlow<()> + 'a;

/// Why two trees were not compared to the end.
#[derive(Debug)]
pub(crate) enum Uncompared {
    /// At this path, as users see it.
    Failed { path: PathBuf, source: io::Error },
    /// Whoever looked on has said so.
    Stopped,
}

/// When two files of the same type, owner, mode and length have the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    /// When their times are the same, and after a look when not: for files that were one.
    ByTime,
    /// After a look: images are built with times that say nothing.
    ByBytes,
}

/// What is different in `new`.
pub(crate) fn compare_trees(
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    same: Same,
    looking: &Looking<'_>,
) -> Result<Vec<Change>, Uncompared> {
    let start = |root: BorrowedFd<'_>| {
        Descent::new(root, Mounts::Refuse).map_err(|source| Uncompared::Failed {
            path: PathBuf::from("/"),
            source,
        })
    };
    let mut walk = Walk {
        old: start(old)?,
        new: start(new)?,
        path: PathBuf::from("/"),
        changes: Vec::new(),
        same,
        looking,
        stopped: false,
    };
    match walk.run() {
        _ if walk.stopped => Err(Uncompared::Stopped),
        Ok(()) => Ok(walk.changes),
        Err(source) => Err(Uncompared::Failed {
            path: walk.path,
            source,
        }),
    }
}

struct Walk<'a> {
    old: Descent,
    new: Descent,
    /// Where both are, as users see it.
    path: PathBuf,
    changes: Vec<Change>,
    same: Same,
    looking: &'a Looking<'a>,
    /// The rest is not looked at.
    stopped: bool,
}

impl Walk<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut levels = vec![Level {
            side: Side::Both,
            ahead: self.directory(Side::Both)?,
        }];
        while let Some(level) = levels.last_mut() {
            if self.stopped {
                return Ok(());
            }
            let Some((name, mut side)) = level.ahead.pop() else {
                let side = level.side;
                levels.pop();
                if !levels.is_empty() {
                    self.leave(side)?;
                }
                continue;
            };
            if side.has_old() && !entered(&mut self.old, &name)? {
                side = Side::New;
                if !self.new_exists(&name)? {
                    continue;
                }
            }
            if side.has_new() && !entered(&mut self.new, &name)? {
                if side == Side::New {
                    continue;
                }
                side = Side::Old;
            }
            self.path.push(&name);
            levels.push(Level {
                side,
                ahead: self.directory(side)?,
            });
        }
        Ok(())
    }

    fn new_exists(&self, name: &OsStr) -> io::Result<bool> {
        Ok(found(self.new.dir(), name)?.is_some_and(|stat| stat.kind() == FileType::Directory))
    }

    fn leave(&mut self, side: Side) -> io::Result<()> {
        if side.has_old() {
            self.old.leave()?;
        }
        if side.has_new() {
            self.new.leave()?;
        }
        self.path.pop();
        Ok(())
    }

    /// Tells the entries of the present directory that differ; returns the directories in it, last one first.
    fn directory(&mut self, side: Side) -> io::Result<Vec<(OsString, Side)>> {
        let mut names: BTreeMap<OsString, Side> = BTreeMap::new();
        if side.has_old() {
            for entry in sys::dir::read_dir(self.old.dir())? {
                names.insert(entry.name, Side::Old);
            }
        }
        if side.has_new() {
            for entry in sys::dir::read_dir(self.new.dir())? {
                names
                    .entry(entry.name)
                    .and_modify(|side| *side = Side::Both)
                    .or_insert(Side::New);
            }
        }
        let mut ahead = Vec::new();
        for (name, side) in names {
            self.look(0);
            if self.stopped {
                break;
            }
            let old = self.stat(side.has_old(), &self.old, &name)?;
            let new = self.stat(side.has_new(), &self.new, &name)?;
            let kind = match (&old, &new) {
                (None, None) => continue,
                (None, Some(_)) => Some(ChangeKind::Added),
                (Some(_), None) => Some(ChangeKind::Deleted),
                (Some(old), Some(new)) => match self.same(&name, old, new) {
                    // It was removed, or replaced, while it was looked at.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Some(ChangeKind::Deleted)
                    }
                    Err(error) if is_replaced(&error) => Some(ChangeKind::Modified),
                    same => (!same?).then_some(ChangeKind::Modified),
                },
            };
            if let Some(kind) = kind {
                self.changes.push(Change {
                    kind,
                    path: self.path.join(&name),
                    retyped: matches!((&old, &new), (Some(old), Some(new)) if old.kind() != new.kind()),
                });
            }
            let is_directory =
                |stat: &Option<Stat>| stat.is_some_and(|stat| stat.kind() == FileType::Directory);
            match (is_directory(&old), is_directory(&new)) {
                (true, true) => ahead.push((name, Side::Both)),
                (true, false) => ahead.push((name, Side::Old)),
                (false, true) => ahead.push((name, Side::New)),
                (false, false) => {}
            }
        }
        ahead.reverse();
        Ok(ahead)
    }

    fn look(&mut self, bytes: u64) {
        self.stopped |= (self.looking)(bytes).is_break();
    }

    fn stat(&self, there: bool, walk: &Descent, name: &OsStr) -> io::Result<Option<Stat>> {
        if there {
            found(walk.dir(), name)
        } else {
            Ok(None)
        }
    }

    fn same(&mut self, name: &OsStr, old: &Stat, new: &Stat) -> io::Result<bool> {
        Ok((old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid)
            && self.same_content(name, old, new)?
            && self.same_attributes(name, old, new)?)
    }

    fn same_attributes(&self, name: &OsStr, old: &Stat, new: &Stat) -> io::Result<bool> {
        // A subvolume's snapshot keeps this time, which every change of an attribute moves.
        if (old.ino, old.ctime) == (new.ino, new.ctime) {
            return Ok(true);
        }
        xattr::are_same(
            Subject::Entry(self.old.dir(), name),
            Subject::Entry(self.new.dir(), name),
        )
    }

    fn same_content(&mut self, name: &OsStr, old: &Stat, new: &Stat) -> io::Result<bool> {
        match old.kind() {
            FileType::Directory => Ok(true),
            FileType::RegularFile if old.size != new.size => Ok(false),
            FileType::RegularFile if self.same == Same::ByTime && old.mtime == new.mtime => {
                Ok(true)
            }
            FileType::RegularFile => self.same_bytes(name),
            FileType::Symlink => Ok(sys::dir::read_link_at(self.old.dir(), name)?
                == sys::dir::read_link_at(self.new.dir(), name)?),
            _ => Ok(old.rdev == new.rdev),
        }
    }

    /// Of two files of one length. One that is not looked at to its end is not told of; holes on both sides are not read.
    fn same_bytes(&mut self, name: &OsStr) -> io::Result<bool> {
        const PIECE: usize = 64 << 10;
        const STRIDE: u64 = 1 << 20;
        let open = |dir| -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?.into())
        };
        let (old, new) = (open(self.old.dir())?, open(self.new.dir())?);
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        let (mut at, mut untold) = (0, 0);
        let same = loop {
            at = match (data_from(&old, at)?, data_from(&new, at)?) {
                (Some(old), Some(new)) => old.min(new),
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => break true,
            };
            let count = fill(&old, at, &mut left)?;
            if count != fill(&new, at, &mut right)? || left[..count] != right[..count] {
                break false;
            }
            if count == 0 {
                break true;
            }
            at += count as u64;
            untold += count as u64;
            if untold >= STRIDE {
                self.look(std::mem::take(&mut untold));
                if self.stopped {
                    break true;
                }
            }
        };
        self.look(untold);
        Ok(same)
    }
}

/// What a file of another kind says to whoever reads it as a file or a link.
fn is_replaced(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::InvalidInput, io::ErrorKind::IsADirectory];
    sys::is_gone(error) || kinds.contains(&error.kind())
}

/// Whether the walk went down; a directory that has vanished meanwhile is none.
fn entered(walk: &mut Descent, name: &OsStr) -> io::Result<bool> {
    match walk.enter(name) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            _ => Err(error),
        },
    }
}

fn found(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Stat>> {
    match sys::dir::stat_at(dir, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the next bytes are that are not a hole; `None` behind the last ones.
fn data_from(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        // A filesystem that does not tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(at)),
        Err(error) => Err(error.into()),
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        let place = at + u64::try_from(count).expect("a small buffer");
        match file.read_at(&mut buffer[count..], place) {
            Ok(0) => break,
            Ok(some) => count += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of a test")]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn equal_times_say_nothing_of_files_that_were_never_one() {
        let scratch =
            std::env::temp_dir().join(format!("orlop-volumes-diff-{}", std::process::id()));
        for (tree, text) in [("old", "spring"), ("new", "autumn")] {
            let file = scratch.join(tree).join("file");
            std::fs::create_dir_all(scratch.join(tree)).unwrap();
            std::fs::write(&file, text).unwrap();
            let file = File::options().write(true).open(&file).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let opened = |tree: &str| open_directory(&scratch.join(tree)).unwrap();
        let changes = |same| {
            compare_trees(opened("old").as_fd(), opened("new").as_fd(), same, &|_| {
                ControlFlow::Continue(())
            })
            .unwrap()
            .len()
        };
        assert_eq!((changes(Same::ByTime), changes(Same::ByBytes)), (0, 1));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn attributes_are_part_of_a_file() {
        let scratch =
            std::env::temp_dir().join(format!("orlop-volumes-attributes-{}", std::process::id()));
        let opened = |tree: &str| {
            std::fs::create_dir_all(scratch.join(tree).join("directory")).unwrap();
            std::fs::write(scratch.join(tree).join("file"), "same").unwrap();
            open_directory(&scratch.join(tree)).unwrap()
        };
        let (old, new) = (opened("old"), opened("new"));
        let changes = || {
            let on = |_| ControlFlow::Continue(());
            let changes = compare_trees(old.as_fd(), new.as_fd(), Same::ByBytes, &on).unwrap();
            let paths = changes.into_iter().map(|change| change.path);
            paths.collect::<Vec<_>>()
        };
        let set = |root: &OwnedFd, name: &str, value: &[u8]| {
            let entry = Subject::Entry(root.as_fd(), OsStr::new(name));
            match xattr::set(entry, OsStr::new("user.note"), value) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => false,
                other => other.is_ok(),
            }
        };
        if !set(&old, "file", b"a") {
            println!("SKIPPED: no attributes here");
            return;
        }
        assert_eq!(changes(), [PathBuf::from("/file")]);
        assert!(set(&new, "file", b"b") && set(&new, "directory", b""));
        assert_eq!(
            changes(),
            [PathBuf::from("/directory"), PathBuf::from("/file")]
        );
        assert!(set(&new, "file", b"a") && set(&old, "directory", b""));
        assert!(changes().is_empty());
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn holes_are_like_the_zeros_that_they_read_as() {
        let scratch =
            std::env::temp_dir().join(format!("orlop-volumes-holes-{}", std::process::id()));
        // So large that reading it would take minutes.
        const LENGTH: u64 = 1 << 40;
        let file = |tree: &str, written: &[(u64, &[u8])]| {
            std::fs::create_dir_all(scratch.join(tree)).unwrap();
            let file = File::create(scratch.join(tree).join("file")).unwrap();
            file.set_len(LENGTH).unwrap();
            for (at, bytes) in written {
                file.write_all_at(bytes, *at).unwrap();
            }
            open_directory(&scratch.join(tree)).unwrap()
        };
        let same = |old: &[(u64, &[u8])], new: &[(u64, &[u8])]| {
            let (old, new) = (file("old", old), file("new", new));
            let on = |_| ControlFlow::Continue(());
            let changes = compare_trees(old.as_fd(), new.as_fd(), Same::ByBytes, &on);
            changes.unwrap().is_empty()
        };
        let zeros = vec![0; 200 << 10];
        assert!(same(&[], &[]));
        assert!(same(&[(0, &zeros)], &[]));
        assert!(same(
            &[(1 << 30, b"x")],
            &[(1 << 30, b"x"), (1 << 20, &zeros)]
        ));
        assert!(!same(&[(1 << 30, b"x")], &[(1 << 30, b"y")]));
        assert!(!same(&[], &[(LENGTH - 1, b"x")]));
        assert!(!same(&[(0, b"x")], &[]));
        std::fs::remove_dir_all(scratch).unwrap();
    }
}

//! What a copy notes of its source, to be found again when it is brought up to date.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::inodes::Arranged;
use crate::dir::Stat;

/// Entries whose numbers are noted at most: they take some thirty bytes each, and their names.
const MOST: usize = 4 << 20;

/// What a copy notes of its source.
#[derive(Debug, Default)]
pub struct Seen {
    /// By their paths from the root.
    directories: RwLock<HashMap<PathBuf, Arc<Noted>>>,
    entries: Arc<AtomicUsize>,
    /// Bytes were copied.
    spoilt: AtomicBool,
    mounts: OnceLock<Mounts>,
    arranged: OnceLock<Arranged>,
}

/// A directory that was copied.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(super) inode: u64,
    inside: Mutex<Inside>,
    /// Of all directories.
    entries: Arc<AtomicUsize>,
}

/// Numbers by names.
pub(super) type Numbers = HashMap<Box<[u8]>, u64>;

/// What is directly in a directory.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// Of what is no directory, in the order of `names`.
    pub(super) inodes: Vec<u64>,
    /// Each with a NUL behind it.
    pub(super) names: Vec<u8>,
    pub(super) directories: Vec<OsString>,
    /// There are others, which were not copied.
    is_incomplete: bool,
}

impl Noted {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inodes that these names were copied from; directories are not among them.
    pub(super) fn numbers(&self) -> Numbers {
        let inside = self.inside();
        let names = inside.names.split(|&byte| byte == 0);
        let numbers = names.zip(&inside.inodes);
        numbers.map(|(name, &inode)| (name.into(), inode)).collect()
    }

    /// An entry that is no directory was copied.
    pub(crate) fn add(&self, name: &OsStr, inode: u64) {
        if self.entries.fetch_add(1, Ordering::Relaxed) >= MOST {
            return;
        }
        let mut inside = self.inside();
        inside.inodes.push(inode);
        inside.names.extend_from_slice(name.as_bytes());
        inside.names.push(0);
    }

    /// An entry that is no directory was not copied.
    pub(crate) fn leave_out(&self) {
        self.inside().is_incomplete = true;
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.inside().is_incomplete
    }

    /// These directories are in it.
    pub(crate) fn add_directories(&self, names: &[OsString]) {
        let mut inside = self.inside();
        inside.directories.extend_from_slice(names);
    }
}

impl Seen {
    /// A copy of the directory `root` begins.
    pub(crate) fn begin(&self, root: &Stat) -> Arc<Noted> {
        if let Some(mounts) = Mounts::watch() {
            // Who copies twice keeps the first one, which tells of more.
            let _ = self.mounts.set(mounts);
        }
        self.note(PathBuf::new(), root.ino)
    }

    pub(crate) fn note(&self, path: PathBuf, inode: u64) -> Arc<Noted> {
        let noted = Arc::new(Noted {
            inode,
            inside: Mutex::default(),
            entries: Arc::clone(&self.entries),
        });
        let mut seen = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        seen.insert(path, Arc::clone(&noted));
        noted
    }

    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Relaxed)
    }

    /// What was copied at `path`, if that was the directory with this number.
    pub(super) fn noted(&self, path: &Path, inode: u64) -> Option<Arc<Noted>> {
        let seen = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        seen.get(path)
            .filter(|noted| noted.inode == inode)
            .map(Arc::clone)
    }

    /// The copy of `root` is complete: what was noted is put into the order in which the filesystem tells of inodes, where it
    /// does and that is worth it.
    pub(crate) fn end(&self, root: BorrowedFd<'_>) {
        if self.is_spoilt() || self.entries.load(Ordering::Relaxed) > MOST {
            return;
        }
        let seen = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(arranged) = Arranged::new(root, &seen) {
            // As above.
            let _ = self.arranged.set(arranged);
        }
    }

    /// That order; `None` when what was noted does not tell everything any more.
    pub(super) fn arranged(&self) -> Option<&Arranged> {
        let arranged = self.arranged.get()?;
        (!self.mounts.get()?.have_changed()).then_some(arranged)
    }

    /// Whether the copy will be brought up to date by the numbers of inodes; what changes meanwhile may still prevent it.
    #[must_use]
    pub fn is_by_number(&self) -> bool {
        self.arranged.get().is_some()
    }
}

/// Tells of mounts that come and go: no inode tells what is mounted on it.
#[derive(Debug)]
struct Mounts {
    table: OwnedFd,
    changed: AtomicBool,
}

impl Mounts {
    /// `None` where nobody tells.
    fn watch() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let table = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty()).ok()?;
        Some(Self {
            table,
            changed: AtomicBool::new(false),
        })
    }

    fn have_changed(&self) -> bool {
        let changed = PollFlags::PRI | PollFlags::ERR;
        let table = self.table.as_fd();
        let mut asked = [PollFd::from_borrowed_fd(table, PollFlags::PRI)];
        let have_changed = match poll(&mut asked, Some(&Timespec::default())) {
            Ok(_) => asked[0].revents().intersects(changed),
            Err(_) => true,
        };
        // The kernel says it once.
        self.changed.fetch_or(have_changed, Ordering::Relaxed) || have_changed
    }
}

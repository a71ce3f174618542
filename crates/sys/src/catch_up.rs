//! Brings a copy of a tree up to date that was made while its source was written to: what changed since the copy began is
//! copied again, and nothing else is looked into. Whoever holds the writers still waits for a look at each entry, not for a
//! copy of it.
//!
//! What has changed is known by the time of the last change of status (`ctime`), which nobody can set: it moves with every
//! write, rename, link and change of attributes. A directory is the one that was copied if it has its number. Where that is
//! not enough, because the clock was set, a file with several names changed, or data is not shared, the answer is that nobody
//! can tell.
//!
//! Relies on copies that share data (reflink): for one of these the kernel keeps writers out of the file and writes back what
//! is mapped, so that no write is in the copy by half. A copy byte by byte has no such instant.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rayon::Scope;
use rustix::fs::FileType;
use rustix::time::{ClockId, Timespec};

use crate::copy_tree::{self, Copied, CopyError, CopyOptions, Counts, copy_entries};
use crate::dir::{self, Time};

/// The clock may have gone so far astray meanwhile, and times of change are behind it by no more.
const SLACK: i128 = 50_000_000;

/// When a copy began, and which directories it has seen.
#[derive(Debug)]
pub struct Began {
    real: i128,
    /// Of the clock that people set from the one that nobody does.
    ahead: i128,
    seen: Seen,
}

/// What a copy notes of its source.
#[derive(Debug, Default)]
pub struct Seen {
    /// Numbers of the directories, by their paths from the root.
    directories: RwLock<HashMap<PathBuf, u64>>,
    /// Bytes were copied.
    spoilt: AtomicBool,
}

impl Seen {
    pub(crate) fn note(&self, path: PathBuf, inode: u64) {
        let mut seen = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        seen.insert(path, inode);
    }

    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Relaxed);
    }

    fn is(&self, path: &Path, inode: u64) -> bool {
        let seen = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        seen.get(path) == Some(&inode)
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Both clocks, the second one as what the first is ahead of it.
fn clocks() -> (i128, i128) {
    let real = nanoseconds(rustix::time::clock_gettime(ClockId::Realtime));
    let steady = nanoseconds(rustix::time::clock_gettime(ClockId::Boottime));
    (real, real - steady)
}

impl Began {
    /// To be called before [`copy_tree::copy_tree`], whose options get [`Began::seen`], or before whatever
    /// [`crate::untouched::is_untouched`] shall tell of.
    #[must_use]
    pub fn now() -> Self {
        let (real, ahead) = clocks();
        Self {
            real,
            ahead,
            seen: Seen::default(),
        }
    }

    /// A moment so long after the call that nothing that was done before the call may have been done after it: a tenth of a
    /// second.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "time itself is what is waited for"
    )]
    pub fn after_rest() -> Self {
        let rest = u64::try_from(2 * SLACK).expect("it is a tenth of a second");
        std::thread::sleep(std::time::Duration::from_nanos(rest));
        Self::now()
    }

    /// What the copy notes.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(crate) fn is_before(&self, change: Time) -> bool {
        let change = i128::from(change.seconds) * 1_000_000_000 + i128::from(change.nanoseconds);
        change >= self.real - 2 * SLACK
    }

    pub(crate) fn clock_was_set(&self) -> bool {
        (clocks().1 - self.ahead).abs() > SLACK
    }
}

/// Makes `dst`, the copy that began at `began`, what `src` is now; `None` when nobody can tell what has changed. Nothing is
/// synced. `options` are those of the copy.
///
/// # Errors
/// Those of [`copy_tree::copy_tree`]. After an error, and after `None`, the copy is neither one nor the other.
pub fn catch_up(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    began: &Began,
    options: &CopyOptions<'_>,
) -> Result<Option<Counts>, CopyError> {
    if began.clock_was_set() || began.seen.spoilt.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let root = |dir| {
        dir::open_at(dir, OsStr::new(".")).map_err(|source| CopyError::Read {
            path: PathBuf::new(),
            source,
        })
    };
    let root = Pair {
        src: root(src)?,
        dst: root(dst)?,
        path: PathBuf::new(),
    };
    let walk = Walk {
        began,
        options,
        unknown: AtomicBool::new(false),
        state: Mutex::default(),
    };
    copy_tree::pool().scope(|scope| walk.directory(scope, &Arc::new(root)));
    let state = walk
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match state.failed {
        Some(error) => Err(error),
        None if walk.unknown.into_inner() => Ok(None),
        None => Ok(Some(state.counts)),
    }
}

/// A directory of the source and its copy.
struct Pair {
    src: OwnedFd,
    dst: OwnedFd,
    path: PathBuf,
}

struct Walk<'a> {
    began: &'a Began,
    options: &'a CopyOptions<'a>,
    /// Somebody else has to make the copy, or it has failed.
    unknown: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    /// Inodes with several names, counted once.
    linked: HashSet<u64>,
    failed: Option<CopyError>,
}

impl Walk<'_> {
    fn directory<'s>(&'s self, scope: &Scope<'s>, pair: &Arc<Pair>) {
        match self.look(pair) {
            Ok(below) => {
                for name in below {
                    let above = Arc::clone(pair);
                    scope.spawn(move |scope| self.subdirectory(scope, above, &name));
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn subdirectory<'s>(&'s self, scope: &Scope<'s>, above: Arc<Pair>, name: &OsStr) {
        if self.unknown.load(Ordering::Relaxed) {
            return;
        }
        let path = above.path.join(name);
        let opened = dir::open_at(above.src.as_fd(), name)
            .and_then(|src| Ok((src, dir::open_at(above.dst.as_fd(), name)?)));
        drop(above);
        match opened {
            Ok((src, dst)) => self.directory(scope, &Arc::new(Pair { src, dst, path })),
            Err(source) => self.fail(CopyError::Read { path, source }),
        }
    }

    fn fail(&self, error: CopyError) {
        self.unknown.store(true, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.get_or_insert(error);
    }

    /// Puts right what is directly in a directory; names of the directories in it that are still to be looked at.
    fn look(&self, pair: &Pair) -> Result<Vec<OsString>, CopyError> {
        if let Some(watch) = self.options.watch
            && watch(Copied::default()).is_break()
        {
            return Err(CopyError::Stopped);
        }
        let read = |source| CopyError::Read {
            path: pair.path.clone(),
            source,
        };
        let write = |source| CopyError::Write {
            path: pair.path.clone(),
            source,
        };
        let (src, dst) = (pair.src.as_fd(), pair.dst.as_fd());
        let is_changed = self.began.is_before(dir::stat(src).map_err(read)?.ctime);
        let (mut below, mut again) = (Vec::new(), Vec::new());
        let (mut counts, mut linked) = (Counts::default(), Vec::new());
        let entries = dir::read_dir(src).map_err(read)?;
        for entry in &entries {
            let stat = match dir::stat_at(src, &entry.name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(read)?,
            };
            counts.entries += 1;
            if stat.kind() == FileType::Directory {
                let is_known = self.began.seen.is(&pair.path.join(&entry.name), stat.ino);
                let list = if is_known { &mut below } else { &mut again };
                list.push(entry.name.clone());
                continue;
            }
            if stat.kind() == FileType::RegularFile {
                if stat.nlink > 1 {
                    linked.push((stat.ino, stat.size));
                } else {
                    counts.bytes += stat.size;
                }
            }
            if self.began.is_before(stat.ctime) {
                if stat.nlink > 1 {
                    self.unknown.store(true, Ordering::Relaxed);
                    return Ok(Vec::new());
                }
                again.push(entry.name.clone());
            }
        }
        if is_changed {
            let known: BTreeSet<&OsStr> = entries.iter().map(|entry| &*entry.name).collect();
            for entry in dir::read_dir(dst).map_err(write)? {
                if !known.contains(&*entry.name) {
                    dir::remove_tree_at(dst, &entry.name).map_err(write)?;
                }
            }
        }
        for name in &again {
            match dir::remove_tree_at(dst, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(write)?,
            }
        }
        // What is new is not looked at by this walk.
        let Some(copied) = copy_entries(src, dst, &again, self.options)? else {
            self.unknown.store(true, Ordering::Relaxed);
            return Ok(Vec::new());
        };
        if is_changed || !again.is_empty() {
            crate::attributes::copy(src, dst).map_err(|source| CopyError::Attributes {
                path: pair.path.clone(),
                source,
            })?;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = copied
            .entries
            .saturating_sub(u64::try_from(again.len()).expect("a count of names is small"));
        state.counts.entries += counts.entries + inside;
        state.counts.bytes += counts.bytes;
        for (inode, size) in linked {
            if state.linked.insert(inode) {
                state.counts.bytes += size;
            }
        }
        Ok(below)
    }
}

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
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rayon::Scope;
use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec};

use crate::copy_tree::{self, Copied, CopyError, CopyOptions, Counts, copy_entries};
use crate::dir::{self, Stat, Time};

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
    let root = Pair::new(root(src)?, root(dst)?, PathBuf::new());
    let walk = Walk {
        began,
        options,
        unknown: AtomicBool::new(false),
        state: Mutex::default(),
    };
    copy_tree::pool().scope(|scope| walk.directory(scope, Arc::new(root)));
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
    /// Parts of the directory that nobody has looked at to the end; who has done the last one puts it right.
    open_parts: AtomicUsize,
    looked: Mutex<Looked>,
}

impl Pair {
    fn new(src: OwnedFd, dst: OwnedFd, path: PathBuf) -> Self {
        Self {
            src,
            dst,
            path,
            open_parts: AtomicUsize::new(0),
            looked: Mutex::default(),
        }
    }

    fn read_error(&self, source: impl Into<io::Error>) -> CopyError {
        CopyError::Read {
            path: self.path.clone(),
            source: source.into(),
        }
    }

    fn write_error(&self, source: impl Into<io::Error>) -> CopyError {
        CopyError::Write {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

/// What a look at entries of a directory has found.
#[derive(Default)]
struct Looked {
    /// Directories that were copied, to be looked into.
    below: Vec<OsString>,
    /// What is to be copied again.
    again: Vec<OsString>,
    counts: Counts,
    /// Numbers and lengths of files with several names.
    linked: Vec<(u64, u64)>,
}

/// Some names of a directory, each with its NUL: nothing is allocated for an entry that has not changed.
type Part = Vec<u8>;

/// So much of names that looking at them takes longer than handing them to another thread.
const PART: usize = 8 << 10;

/// The names in a directory; at least one part.
fn parts(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<Part>> {
    let mut room = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(dir, room.spare_capacity_mut());
    let mut parts = vec![Part::new()];
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if parts.last().is_some_and(|part| part.len() > PART) {
            parts.push(Part::with_capacity(PART + 256));
        }
        let part = parts.last_mut().expect("there is one from the beginning");
        part.extend_from_slice(name.to_bytes_with_nul());
    }
    Ok(parts)
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
    fn directory<'s>(&'s self, scope: &Scope<'s>, pair: Arc<Pair>) {
        let mut parts = match parts(pair.src.as_fd()) {
            Ok(parts) => parts,
            Err(error) => return self.fail(pair.read_error(error)),
        };
        pair.open_parts.store(parts.len(), Ordering::Relaxed);
        let own = parts.pop().expect("there is at least one");
        for part in parts {
            let pair = Arc::clone(&pair);
            scope.spawn(move |scope| self.part(scope, &pair, &part));
        }
        self.part(scope, &pair, &own);
    }

    fn part<'s>(&'s self, scope: &Scope<'s>, pair: &Arc<Pair>, part: &Part) {
        if let Some(watch) = self.options.watch
            && watch(Copied::default()).is_break()
        {
            self.fail(CopyError::Stopped);
        }
        if !self.unknown.load(Ordering::Relaxed)
            && let Err(error) = self.look(pair, part)
        {
            self.fail(pair.read_error(error));
        }
        if pair.open_parts.fetch_sub(1, Ordering::AcqRel) > 1
            || self.unknown.load(Ordering::Relaxed)
        {
            return;
        }
        match self.put_right(pair) {
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
            Ok((src, dst)) => self.directory(scope, Arc::new(Pair::new(src, dst, path))),
            Err(source) => self.fail(CopyError::Read { path, source }),
        }
    }

    fn fail(&self, error: CopyError) {
        self.unknown.store(true, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.get_or_insert(error);
    }

    /// Looks at entries of a directory.
    fn look(&self, pair: &Pair, part: &Part) -> io::Result<()> {
        let mut looked = Looked::default();
        for name in part.split_inclusive(|&byte| byte == 0) {
            let name = CStr::from_bytes_with_nul(name).expect("each name has its end");
            let stat = match rustix::fs::statat(&pair.src, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => Stat::from(other?),
            };
            let name = || OsStr::from_bytes(name.to_bytes()).to_owned();
            looked.counts.entries += 1;
            if stat.kind() == FileType::Directory {
                let name = name();
                let is_known = self.began.seen.is(&pair.path.join(&name), stat.ino);
                let list = if is_known {
                    &mut looked.below
                } else {
                    &mut looked.again
                };
                list.push(name);
                continue;
            }
            if stat.kind() == FileType::RegularFile {
                if stat.nlink > 1 {
                    looked.linked.push((stat.ino, stat.size));
                } else {
                    looked.counts.bytes += stat.size;
                }
            }
            if self.began.is_before(stat.ctime) {
                if stat.nlink > 1 {
                    self.unknown.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                looked.again.push(name());
            }
        }
        let mut all = pair.looked.lock().unwrap_or_else(PoisonError::into_inner);
        all.below.append(&mut looked.below);
        all.again.append(&mut looked.again);
        all.linked.append(&mut looked.linked);
        all.counts.entries += looked.counts.entries;
        all.counts.bytes += looked.counts.bytes;
        Ok(())
    }

    /// Puts right what is directly in a directory; names of the directories in it that are still to be looked at.
    fn put_right(&self, pair: &Pair) -> Result<Vec<OsString>, CopyError> {
        let (src, dst) = (pair.src.as_fd(), pair.dst.as_fd());
        let Looked {
            below,
            again,
            counts,
            linked,
        } = std::mem::take(&mut *pair.looked.lock().unwrap_or_else(PoisonError::into_inner));
        let stat = dir::stat(src).map_err(|error| pair.read_error(error))?;
        let is_changed = self.began.is_before(stat.ctime);
        if is_changed {
            let entries = dir::read_dir(src).map_err(|error| pair.read_error(error))?;
            let known: BTreeSet<&OsStr> = entries.iter().map(|entry| &*entry.name).collect();
            for entry in dir::read_dir(dst).map_err(|error| pair.write_error(error))? {
                if !known.contains(&*entry.name) {
                    dir::remove_tree_at(dst, &entry.name)
                        .map_err(|error| pair.write_error(error))?;
                }
            }
        }
        for name in &again {
            match dir::remove_tree_at(dst, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| pair.write_error(error))?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_name_once() {
        let scratch = std::env::temp_dir().join(format!("orlop-parts-{}", std::process::id()));
        std::fs::create_dir(&scratch).expect("a new directory");
        let open = || dir::open(&scratch).expect("it is there");
        assert_eq!(parts(open().as_fd()), Ok(vec![Part::new()]));
        let mut wanted: Vec<String> = (0..2000).map(|number| format!("name {number}")).collect();
        for name in &wanted {
            std::fs::write(scratch.join(name), "").expect("there is room");
        }
        let found = parts(open().as_fd()).expect("it can be read");
        assert!(found.len() > 1, "a large directory is looked at by several");
        let mut names: Vec<String> = found
            .iter()
            .flat_map(|part| part.split_inclusive(|&byte| byte == 0))
            .map(|name| CStr::from_bytes_with_nul(name).expect("an end"))
            .map(|name| name.to_str().expect("as it was written").to_owned())
            .collect();
        std::fs::remove_dir_all(&scratch).expect("it is ours");
        names.sort();
        wanted.sort();
        assert_eq!(names, wanted);
    }
}

//! Brings a copy of a tree up to date that was made while its source was written to: what changed since the copy began is
//! copied again, and nothing else is looked into. Whoever holds the writers still waits for a look at each entry, not for a
//! copy of it; on XFS for one at each inode, which takes half the time.
//!
//! What has changed is known by the time of the last change of status (`ctime`), which nobody can set: it moves with every
//! write, link and change of attributes, and most filesystems let it move with a rename. A directory, and a file in a directory
//! that has changed, is the one that was copied if it has its number. Where that is not enough, because the clock was set, a
//! file with several names changed, or data is not shared, the answer is that nobody can tell.
//!
//! Relies on copies that share data (reflink): for one of these the kernel keeps writers out of the file and writes back what
//! is mapped, so that no write is in the copy by half. A copy byte by byte has no such instant, unless the file is at rest
//! ([`crate::at_rest`]): others are left out of it, and copied now.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::Scope;
use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use crate::copy_tree::{self, Copied, CopyError, CopyOptions, Counts, copy_entries};
use crate::dir::{self, Stat};

mod began;
mod inodes;
mod seen;

pub use began::Began;
pub(crate) use seen::Noted;
pub use seen::Seen;

use inodes::{Glance, Verdict};
use seen::Numbers;

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
    if began.clock_was_set() || began.seen().is_spoilt() {
        return Ok(None);
    }
    let goes_on = || {
        options
            .watch
            .is_none_or(|watch| watch(Copied::default()).is_continue())
    };
    let glance = began
        .seen()
        .arranged()
        .and_then(|arranged| arranged.glance(src, |change| began.is_before(change), goes_on));
    let walk = Walk {
        began,
        options,
        src,
        dst,
        glance,
        unknown: AtomicBool::new(false),
        state: Mutex::default(),
    };
    copy_tree::pool().scope(|scope| match &walk.glance {
        Some(glance) => walk.known(scope, glance, Glance::ROOT),
        None => walk.open(scope, PathBuf::new()),
    });
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
    /// The inodes that were copied, where the directory has changed since, as two that change places keep their times, and where
    /// some were left out.
    copied: Option<Numbers>,
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
            copied: None,
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
    src: BorrowedFd<'a>,
    dst: BorrowedFd<'a>,
    /// What needs no look.
    glance: Option<Glance<'a>>,
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
    /// The directory of this number, and what is below it.
    fn known<'s>(&'s self, scope: &Scope<'s>, glance: &'s Glance<'s>, number: u32) {
        let mut ahead = vec![number];
        let mut counts = Counts::default();
        let mut linked = Vec::new();
        while let Some(number) = ahead.pop() {
            let directory = glance.directory(number);
            match glance.verdict(number) {
                Verdict::Look => {
                    scope.spawn(|scope| self.open(scope, directory.path.clone()));
                    continue;
                }
                Verdict::Unknown => return self.unknown.store(true, Ordering::Relaxed),
                Verdict::Known {
                    again,
                    entries,
                    bytes,
                } => {
                    counts.entries += entries;
                    counts.bytes += bytes;
                    if !again.is_empty() {
                        scope.spawn(|_| self.repeat(directory.path.clone(), again));
                    }
                }
            }
            linked.extend_from_slice(glance.linked(number));
            ahead.extend_from_slice(&directory.children);
        }
        self.count(counts, linked);
    }

    /// Copies these entries of a directory again.
    fn repeat(&self, path: PathBuf, names: Vec<OsString>) {
        let repeated = self.pair(path).and_then(|pair| {
            let looked = pair.looked.lock();
            looked.unwrap_or_else(PoisonError::into_inner).again = names;
            self.put_right(&pair)
        });
        if let Err(error) = repeated {
            self.fail(error);
        }
    }

    fn pair(&self, path: PathBuf) -> Result<Pair, CopyError> {
        let opened = dir::open_deep(self.src, &path)
            .and_then(|src| Ok((src, dir::open_deep(self.dst, &path)?)));
        match opened {
            Ok((src, dst)) => Ok(Pair::new(src, dst, path)),
            Err(source) => Err(CopyError::Read { path, source }),
        }
    }

    fn open<'s>(&'s self, scope: &Scope<'s>, path: PathBuf) {
        match self.pair(path) {
            Ok(pair) => self.directory(scope, pair),
            Err(error) => self.fail(error),
        }
    }

    fn directory<'s>(&'s self, scope: &Scope<'s>, mut pair: Pair) {
        let parts = self.changed(&pair).and_then(|copied| {
            pair.copied = copied;
            Ok(parts(pair.src.as_fd())?)
        });
        let mut parts = match parts {
            Ok(parts) => parts,
            Err(error) => return self.fail(pair.read_error(error)),
        };
        let pair = Arc::new(pair);
        pair.open_parts.store(parts.len(), Ordering::Relaxed);
        let own = parts.pop().expect("there is at least one");
        for part in parts {
            let pair = Arc::clone(&pair);
            scope.spawn(move |scope| self.part(scope, &pair, &part));
        }
        self.part(scope, &pair, &own);
    }

    /// What was copied from a directory that has changed since, or of which something was left out.
    fn changed(&self, pair: &Pair) -> io::Result<Option<Numbers>> {
        let stat = dir::stat(pair.src.as_fd())?;
        match self.began.seen().noted(&pair.path, stat.ino) {
            Some(noted) if noted.is_complete() && !self.began.is_before(stat.ctime) => Ok(None),
            Some(noted) => Ok(Some(noted.numbers())),
            None => Ok(Some(Numbers::new())),
        }
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
        if let Some(glance) = &self.glance
            && let Some(number) = glance.number(&path)
        {
            drop(above);
            return self.known(scope, glance, number);
        }
        let opened = dir::open_at(above.src.as_fd(), name)
            .and_then(|src| Ok((src, dir::open_at(above.dst.as_fd(), name)?)));
        drop(above);
        match opened {
            Ok((src, dst)) => self.directory(scope, Pair::new(src, dst, path)),
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
            let owned = || OsStr::from_bytes(name.to_bytes()).to_owned();
            looked.counts.entries += 1;
            if stat.kind() == FileType::Directory {
                let name = owned();
                let noted = self.began.seen().noted(&pair.path.join(&name), stat.ino);
                let list = if noted.is_some() {
                    &mut looked.below
                } else {
                    &mut looked.again
                };
                list.push(name);
                continue;
            }
            let copied = pair.copied.as_ref();
            let is_same =
                copied.is_none_or(|copied| copied.get(name.to_bytes()) == Some(&stat.ino));
            if !is_same || self.began.is_before(stat.ctime) {
                if stat.nlink > 1 {
                    self.unknown.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                looked.again.push(owned());
            } else if stat.kind() == FileType::RegularFile {
                if stat.nlink > 1 {
                    looked.linked.push((stat.ino, stat.size));
                } else {
                    looked.counts.bytes += stat.size;
                }
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
        let is_changed = pair.copied.is_some() || self.began.is_before(stat.ctime);
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
        let inside = copied
            .entries
            .saturating_sub(u64::try_from(again.len()).expect("a count of names is small"));
        let counts = Counts {
            entries: counts.entries + inside,
            bytes: counts.bytes + copied.bytes,
        };
        self.count(counts, linked);
        Ok(below)
    }

    /// Adds what is in the copy, and numbers and lengths of files with several names.
    fn count(&self, counts: Counts, linked: Vec<(u64, u64)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.entries += counts.entries;
        state.counts.bytes += counts.bytes;
        for (inode, size) in linked {
            if state.linked.insert(inode) {
                state.counts.bytes += size;
            }
        }
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

//! What has changed in a tree, known from its inodes without a look at its names: XFS tells of inodes in the order of their
//! numbers, in half the time.
//!
//! A directory whose time of change is before the copy has the entries that were copied, with the inodes they had then. From
//! the root, which is open, down to the first directory that has changed everything is thus where it was; none of these inodes
//! was freed, or given to another file. What is below a directory that has changed counts only once a look at that has found
//! it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FileType;

use super::seen::Noted;
use crate::copy_tree;
use crate::dir::{self, Time};
use crate::xfs::{Inode, Inodes, is_xfs};

/// With fewer entries a look at each takes a few milliseconds.
const LEAST: usize = 2048;
/// Numbers between two inodes up to which those between them are read, too: XFS makes 64 at a time.
const GAP: u64 = 64;
/// A call takes as long as so many inodes.
const CALL: u64 = 8;
/// Inodes that are worth a turn of a thread.
const PORTION: usize = 1024;
/// In place of an entry's number: the directory.
const ITSELF: u32 = u32::MAX;

/// The directories of a tree, and the inodes of all that is in them.
#[derive(Debug)]
pub(super) struct Arranged {
    device: u64,
    /// The root is the first one.
    directories: Vec<Directory>,
    numbers: HashMap<PathBuf, u32>,
    /// By their numbers.
    inodes: Vec<Of>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    noted: Arc<Noted>,
    entries: usize,
    /// The directories in it.
    pub(super) children: Vec<u32>,
    /// Those in it of which nothing was noted: mounts, and those very deep.
    unnoted: Vec<OsString>,
}

/// Whose an inode is.
#[derive(Debug, Clone, Copy)]
struct Of {
    inode: u64,
    directory: u32,
    entry: u32,
}

impl Arranged {
    /// `None` where it would not help: no XFS, nobody may ask, too few entries, or the inodes lie too far apart.
    pub(super) fn new(root: BorrowedFd<'_>, seen: &HashMap<PathBuf, Arc<Noted>>) -> Option<Self> {
        let top = dir::stat(root).ok()?;
        let is_root = |noted: &Arc<Noted>| noted.inode == top.ino;
        if !is_xfs(root).ok()? || !seen.get(Path::new("")).is_some_and(is_root) {
            return None;
        }
        let mut paths: Vec<&PathBuf> = seen.keys().collect();
        paths.sort_unstable();
        let numbers = (0..).zip(paths);
        let numbers: HashMap<PathBuf, u32> = numbers.map(|(n, path)| (path.clone(), n)).collect();
        let mut all = Self {
            device: top.dev,
            directories: Vec::with_capacity(numbers.len()),
            numbers: HashMap::new(),
            inodes: Vec::new(),
        };
        let mut in_order: Vec<_> = numbers.iter().collect();
        in_order.sort_unstable_by_key(|&(_, &number)| number);
        for (path, &number) in in_order {
            all.add(path, number, seen.get(path)?, &numbers)?;
        }
        all.numbers = numbers;
        all.inodes.sort_unstable_by_key(|of| of.inode);
        all.is_worth_it(root).then_some(all)
    }

    fn add(
        &mut self,
        path: &Path,
        number: u32,
        noted: &Arc<Noted>,
        numbers: &HashMap<PathBuf, u32>,
    ) -> Option<()> {
        let inside = noted.inside();
        self.inodes.push(Of {
            inode: noted.inode,
            directory: number,
            entry: ITSELF,
        });
        for (entry, &inode) in inside.inodes.iter().enumerate() {
            self.inodes.push(Of {
                inode,
                directory: number,
                entry: u32::try_from(entry).ok()?,
            });
        }
        let mut children = Vec::new();
        let mut unnoted = Vec::new();
        for name in &inside.directories {
            match numbers.get(&path.join(name)) {
                Some(&child) => children.push(child),
                None => unnoted.push(name.clone()),
            }
        }
        self.directories.push(Directory {
            path: path.to_owned(),
            noted: Arc::clone(noted),
            entries: inside.inodes.len(),
            children,
            unnoted,
        });
        Some(())
    }

    /// Tries it: that it is possible, and that few inodes of others are between these.
    fn is_worth_it(&self, root: BorrowedFd<'_>) -> bool {
        if self.inodes.len() < LEAST {
            return false;
        }
        let asked = self.ask(root, |_| false, || true).inspect_err(|error| {
            tracing::debug!(
                error = error as &dyn std::error::Error,
                "inodes are not told"
            );
        });
        asked.is_ok_and(|found| found.cost <= 2 * self.inodes.len() as u64)
    }

    pub(super) fn number(&self, path: &Path) -> Option<u32> {
        self.numbers.get(path).copied()
    }

    /// What has changed below `root`; `None` when `root` is another directory, the inodes cannot be had, or it does not go on.
    /// `is_changed` is asked about times of change.
    pub(super) fn glance(
        &self,
        root: BorrowedFd<'_>,
        is_changed: impl Fn(Time) -> bool + Sync,
        goes_on: impl Fn() -> bool + Sync,
    ) -> Option<Glance<'_>> {
        let top = dir::stat(root).ok()?;
        let known = self.directories.get(Glance::ROOT as usize)?;
        if (top.dev, top.ino) != (self.device, known.noted.inode) {
            return None;
        }
        let found = self.ask(root, is_changed, goes_on).inspect_err(|error| {
            tracing::debug!(
                error = error as &dyn std::error::Error,
                "inodes are not told"
            );
        });
        let found = found.ok()?;
        let mut glance = Glance {
            arranged: self,
            states: vec![State::default(); self.directories.len()],
            again: HashMap::new(),
            linked: HashMap::new(),
        };
        for directory in found.changed {
            glance.states[directory as usize].is_changed = true;
        }
        for directory in found.tangled {
            glance.states[directory as usize].is_tangled = true;
        }
        for (state, bytes) in glance.states.iter_mut().zip(found.bytes) {
            state.bytes = bytes;
        }
        for (directory, entry) in found.again {
            glance.again.entry(directory).or_default().push(entry);
        }
        for (directory, inode, size) in found.linked {
            let linked = glance.linked.entry(directory).or_default();
            linked.push((inode, size));
        }
        Some(glance)
    }

    fn ask(
        &self,
        root: BorrowedFd<'_>,
        is_changed: impl Fn(Time) -> bool + Sync,
        goes_on: impl Fn() -> bool + Sync,
    ) -> io::Result<Found> {
        let pool = copy_tree::pool();
        let threads = pool.current_num_threads();
        let portions: Vec<&[Of]> = self.inodes.chunks(PORTION).collect();
        // Those who read next to each other wait for each other.
        let stretch = portions.len().div_ceil(threads);
        let portions: Vec<&[Of]> = (0..stretch)
            .flat_map(|at| portions.iter().skip(at).step_by(stretch))
            .copied()
            .collect();
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let all = Mutex::new(Ok(Found::default()));
        let turn = || -> io::Result<Found> {
            let mut found = Found {
                bytes: vec![0; self.directories.len()],
                ..Found::default()
            };
            let mut room = Inodes::default();
            while let Some(portion) = portions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                if !goes_on() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                found.look(root, portion, &mut room, &is_changed)?;
            }
            Ok(found)
        };
        let turn = || {
            let found = turn();
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *all, found) {
                (Ok(all), Ok(found)) => all.merge(found),
                (_, Err(error)) => {
                    failed.store(true, Ordering::Relaxed);
                    *all = Err(error);
                }
                (Err(_), Ok(_)) => {}
            }
        };
        pool.scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| turn());
            }
        });
        all.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread has found; directories are meant by their numbers.
#[derive(Default)]
struct Found {
    /// To be looked into.
    changed: Vec<u32>,
    /// Entries to be copied again.
    again: Vec<(u32, u32)>,
    /// With files that have changed and have several names.
    tangled: Vec<u32>,
    /// In the files of each directory that have not changed and have one name.
    bytes: Vec<u64>,
    /// Numbers and lengths of files with several names.
    linked: Vec<(u32, u64, u64)>,
    cost: u64,
}

impl Found {
    fn look(
        &mut self,
        root: BorrowedFd<'_>,
        portion: &[Of],
        room: &mut Inodes,
        is_changed: &impl Fn(Time) -> bool,
    ) -> io::Result<()> {
        for run in portion.chunk_by(|one, next| next.inode - one.inode <= GAP) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let mut awaited = run.iter().peekable();
            let mut from = first.inode;
            while from <= last.inode {
                let told = room.read(root, from, last.inode - from + 1)?;
                self.cost += CALL + told.len() as u64;
                for inode in told {
                    while let Some(of) = awaited.next_if(|of| of.inode < inode.number()) {
                        self.changed.push(of.directory);
                    }
                    while let Some(of) = awaited.next_if(|of| of.inode == inode.number()) {
                        self.inode(of, inode, is_changed(inode.ctime()));
                    }
                }
                match told.last() {
                    Some(last) => from = last.number() + 1,
                    None => break,
                }
            }
            // What is not there any more.
            self.changed.extend(awaited.map(|of| of.directory));
        }
        Ok(())
    }

    fn inode(&mut self, of: &Of, inode: &Inode, is_changed: bool) {
        let directory = of.directory;
        match (of.entry, is_changed) {
            (ITSELF, true) => self.changed.push(directory),
            (ITSELF, false) => {}
            (_, true) if inode.nlink() > 1 => self.tangled.push(directory),
            (entry, true) => self.again.push((directory, entry)),
            _ if inode.kind() != FileType::RegularFile => {}
            // What has not changed was written back when it was shared, and has its size on disk.
            _ if inode.nlink() > 1 => self.linked.push((directory, of.inode, inode.size())),
            _ => self.bytes[directory as usize] += inode.size(),
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.changed.append(&mut other.changed);
        self.again.append(&mut other.again);
        self.tangled.append(&mut other.tangled);
        self.linked.append(&mut other.linked);
        self.cost += other.cost;
        if self.bytes.is_empty() {
            self.bytes = other.bytes;
        } else {
            for (sum, bytes) in self.bytes.iter_mut().zip(other.bytes) {
                *sum += bytes;
            }
        }
    }
}

/// What has changed since the copy.
pub(super) struct Glance<'a> {
    arranged: &'a Arranged,
    states: Vec<State>,
    again: HashMap<u32, Vec<u32>>,
    linked: HashMap<u32, Vec<(u64, u64)>>,
}

#[derive(Clone, Default)]
struct State {
    is_changed: bool,
    is_tangled: bool,
    bytes: u64,
}

/// What is to be done with a directory.
pub(super) enum Verdict {
    /// Somebody has to look into it.
    Look,
    /// A file has changed whose other names nobody knows.
    Unknown,
    /// It has these entries to be copied again, and nothing else in it has changed; how many there are in all, and the bytes in
    /// those that stay.
    Known {
        again: Vec<OsString>,
        entries: u64,
        bytes: u64,
    },
}

impl<'a> Glance<'a> {
    pub(super) const ROOT: u32 = 0;

    pub(super) fn directory(&self, number: u32) -> &'a Directory {
        &self.arranged.directories[number as usize]
    }

    pub(super) fn number(&self, path: &Path) -> Option<u32> {
        self.arranged.number(path)
    }

    /// Numbers and lengths of files with several names in it.
    pub(super) fn linked(&self, number: u32) -> &[(u64, u64)] {
        self.linked.get(&number).map_or(&[], Vec::as_slice)
    }

    pub(super) fn verdict(&self, number: u32) -> Verdict {
        let state = &self.states[number as usize];
        if state.is_changed {
            return Verdict::Look;
        }
        if state.is_tangled {
            return Verdict::Unknown;
        }
        let directory = self.directory(number);
        let mut again = directory.unnoted.clone();
        if let Some(entries) = self.again.get(&number) {
            let mut chosen = entries.clone();
            chosen.sort_unstable();
            let mut chosen = chosen.into_iter().peekable();
            let inside = directory.noted.inside();
            let names = inside.names.split(|&byte| byte == 0);
            for (entry, name) in (0..).zip(names) {
                if chosen.next_if_eq(&entry).is_some() {
                    again.push(OsStr::from_bytes(name).to_owned());
                } else if chosen.peek().is_none() {
                    break;
                }
            }
        }
        let entries = directory.entries + directory.children.len() + directory.unnoted.len();
        Verdict::Known {
            again,
            entries: entries as u64,
            bytes: state.bytes,
        }
    }
}

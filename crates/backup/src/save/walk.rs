//! Walks the source with several threads, a directory being the unit of work, and builds the trees from below.
//!
//! A directory is finished by whichever thread finishes the last of what is in it. Large files are cut by the thread that found
//! them and sealed by others; how many bytes are on their way is bounded, so that the memory does not depend on the source.
//!
//! Somebody may change the source meanwhile. What goes before it is read is left out, what is replaced is read as it is then.
//! That says nothing of whether the tree is one that ever was: who wants to know looks at its times afterwards.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rayon::{Scope, ThreadPool};
use rustic_core::Id;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use sys::dir::{FileType, Stat};
use sys::xattr::{self, Subject};

use super::Compare;
use super::budget::Budget;
use super::chunk::{Chunks, Cutter, LEAST, MOST};
use super::cursor::Cursor;
use super::guide::Guide;
use super::packs::Packs;
use crate::error::BackupError;
use crate::index::{BlobKind, Index};
use crate::node::{Attribute, Node, NodeKind, Tree};
use crate::repository::{Repository, Watch, pool, threads};

/// Cut and not sealed yet, over all files.
const ON_THEIR_WAY: usize = 48 * 1024 * 1024;
/// How far several threads look ahead in a file for what it had before.
const FAR: usize = 4 * MOST;
/// A change within this time before the parent was taken may have more behind it with the same time: of the same tick of a coarse
/// clock, or of the same write, which bears the time at which it began and may take long, past the cache or short of memory.
const DOUBT: SignedDuration = SignedDuration::from_secs(10);

/// How often an entry is looked at again that somebody replaces all the time.
const TRIES: u32 = 10;

/// What was met.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) new: u64,
    pub(super) changed: u64,
    pub(super) same: u64,
    pub(super) directories_new: u64,
    pub(super) directories_changed: u64,
    pub(super) directories_same: u64,
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.files += more.files;
        self.bytes += more.bytes;
        self.new += more.new;
        self.changed += more.changed;
        self.same += more.same;
        self.directories_new += more.directories_new;
        self.directories_changed += more.directories_changed;
        self.directories_same += more.directories_same;
    }
}

pub(super) struct Walk<'a> {
    pub(super) repository: &'a Repository,
    pub(super) index: &'a Index,
    pub(super) root: &'a OwnedFd,
    pub(super) source: &'a Path,
    pub(super) compare: Compare,
    pub(super) parent_time: Option<Timestamp>,
    pub(super) watch: &'a dyn Watch,
}

/// A directory whose entries are not all done.
struct Directory {
    /// Without its tree.
    node: Node,
    above: Option<(Arc<Self>, usize)>,
    old: Option<(Id, Vec<Node>)>,
    nodes: Mutex<Vec<Node>>,
    /// Directories in it, and itself until it was read.
    pending: AtomicUsize,
}

/// Chunks, and how many bytes they have together.
type Content = (Vec<Id>, u64);

struct Running<'a> {
    walk: &'a Walk<'a>,
    packs: &'a Packs<'a>,
    /// Of the filesystem that the source is on.
    device: u64,
    cutter: Cutter,
    sealers: ThreadPool,
    budget: Budget,
    counts: Mutex<Counts>,
    /// Files with several names: what was stored for the first of them.
    linked: Mutex<HashMap<(u64, u64), Content>>,
    unreadable: Mutex<Option<(usize, PathBuf, io::Error)>>,
    failure: Mutex<Option<BackupError>>,
    top: Mutex<Option<Node>>,
    zeros: std::sync::OnceLock<Id>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walk<'_> {
    /// Stores the source; the node for it, which is called `_data`.
    pub(super) fn run(
        &self,
        packs: &Packs<'_>,
        parent: Option<Id>,
    ) -> Result<(Node, Counts), BackupError> {
        let cutter = Cutter::new(&self.repository.config.chunker_polynomial)
            .ok_or_else(|| self.repository.damaged("config"))?;
        let source = |error| BackupError::Source {
            path: self.source.to_owned(),
            source: error,
        };
        let stat = sys::dir::stat(self.root.as_fd()).map_err(source)?;
        let with_change = self.compare == Compare::Changed;
        let mut node = Node::of("_data".as_ref(), &stat, with_change, stat.dev);
        node.extended_attributes = attributes(Subject::Open(self.root.as_fd())).map_err(source)?;
        let running = Running {
            walk: self,
            packs,
            device: stat.dev,
            cutter,
            sealers: pool(threads())?,
            budget: Budget::new(ON_THEIR_WAY),
            counts: Mutex::default(),
            linked: Mutex::default(),
            unreadable: Mutex::new(None),
            failure: Mutex::new(None),
            top: Mutex::new(None),
            zeros: std::sync::OnceLock::new(),
        };
        pool(threads())?.scope(|scope| {
            running.directory(scope, Path::new(""), node, None, parent);
        });
        if let Some(error) = lock(&running.failure).take() {
            return Err(error);
        }
        if let Some((count, path, source)) = lock(&running.unreadable).take() {
            return Err(BackupError::Unreadable {
                count,
                path,
                source,
            });
        }
        let top = lock(&running.top).take();
        // Without a failure the last directory to be finished is the root.
        let top = top.ok_or(BackupError::Stopped)?;
        let counts = lock(&running.counts).clone();
        Ok((top, counts))
    }
}

impl<'a> Running<'a> {
    /// Whether there is no use in going on.
    fn over(&self) -> bool {
        if self.packs.has_failed() || lock(&self.failure).is_some() {
            return true;
        }
        if self.walk.watch.stop() {
            self.fail(BackupError::Stopped);
            return true;
        }
        false
    }

    fn fail(&self, error: BackupError) {
        lock(&self.failure).get_or_insert(error);
    }

    fn unreadable(&self, path: &Path, error: io::Error) {
        let mut unreadable = lock(&self.unreadable);
        match &mut *unreadable {
            Some((count, ..)) => *count += 1,
            none => *none = Some((1, self.walk.source.join(path), error)),
        }
    }

    fn directory<'s>(
        &'s self,
        scope: &Scope<'s>,
        path: &Path,
        node: Node,
        above: Option<(Arc<Directory>, usize)>,
        parent: Option<Id>,
    ) {
        if self.over() {
            return;
        }
        let old = match parent.map(|id| (id, self.walk.repository.tree(self.walk.index, id))) {
            Some((id, Ok(tree))) => Some((id, tree.nodes)),
            // Without it the files are only read again.
            Some((_, Err(error))) if error.is_loss() => {
                tracing::warn!(%error, "the parent is damaged and not compared with");
                None
            }
            Some((_, Err(error))) => return self.fail(error),
            None => None,
        };
        let mut tries = 0;
        let (opened, mut entries) = loop {
            let opened = sys::dir::open_deep(self.walk.root.as_fd(), path);
            let read = opened.and_then(|opened| {
                let entries = sys::dir::read_dir(opened.as_fd())?;
                Ok((opened, entries))
            });
            let error = match read {
                Ok(read) => break read,
                Err(error) => error,
            };
            // It may have waited for minutes. The source itself does not go.
            match &above {
                Some((above, _)) if may_have_gone(&error) => match self.is_directory(path) {
                    Ok(false) => return self.finish(Arc::clone(above)),
                    Ok(true) if tries < TRIES => tries += 1,
                    _ => return self.unreadable(path, error),
                },
                _ => return self.unreadable(path, error),
            }
        };
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut nodes = Vec::with_capacity(entries.len());
        let mut below = Vec::new();
        let mut cursor = Cursor::new(old.as_ref().map_or(&[], |(_, nodes)| nodes));
        let mut counts = Counts::default();
        for entry in entries {
            if self.over() {
                return;
            }
            let old = cursor.find(&entry.name);
            let path = path.join(&entry.name);
            match self.entry(opened.as_fd(), &entry.name, old, &path, &mut counts) {
                Ok(None) => {}
                Ok(Some(node)) => {
                    if node.kind == NodeKind::Dir {
                        below.push((nodes.len(), path, old.and_then(|old| old.subtree)));
                    }
                    nodes.push(node);
                }
                Err(Trouble::Source(error)) => self.unreadable(&path, error),
                Err(Trouble::Other(error)) => return self.fail(error),
            }
        }
        drop(opened);
        self.count(&counts);
        let tasks: Vec<_> = below
            .into_iter()
            .map(|(slot, path, subtree)| (slot, nodes[slot].clone(), path, subtree))
            .collect();
        let directory = Arc::new(Directory {
            node,
            above,
            old,
            nodes: Mutex::new(nodes),
            pending: AtomicUsize::new(tasks.len() + 1),
        });
        // The one that is spawned last is done first.
        for (slot, node, path, subtree) in tasks.into_iter().rev() {
            let above = Some((Arc::clone(&directory), slot));
            scope.spawn(move |scope| self.directory(scope, &path, node, above, subtree));
        }
        self.finish(directory);
    }

    /// One thing less to wait for in `directory`; stores its tree when that was the last, and so on upwards.
    fn finish(&self, mut directory: Arc<Directory>) {
        while directory.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut nodes = std::mem::take(&mut *lock(&directory.nodes));
            // Those that had gone when it was their turn.
            nodes.retain(|node| node.kind != NodeKind::Dir || node.subtree.is_some());
            let tree = Tree { nodes };
            let same = directory
                .old
                .as_ref()
                .filter(|(_, nodes)| *nodes == tree.nodes)
                .map(|(id, _)| *id);
            let mut counts = Counts::default();
            let stored = match (same, &directory.old) {
                (Some(id), _) => {
                    counts.directories_same = 1;
                    Ok(id)
                }
                (None, old) => {
                    if old.is_some() {
                        counts.directories_changed = 1;
                    } else {
                        counts.directories_new = 1;
                    }
                    self.packs.add_tree(&tree)
                }
            };
            self.count(&counts);
            let id = match stored {
                Ok(id) => id,
                Err(error) => return self.fail(error),
            };
            match &directory.above {
                None => {
                    let mut node = directory.node.clone();
                    node.subtree = Some(id);
                    *lock(&self.top) = Some(node);
                    return;
                }
                Some((above, slot)) => {
                    lock(&above.nodes)[*slot].subtree = Some(id);
                    directory = Arc::clone(above);
                }
            }
        }
    }

    fn count(&self, more: &Counts) {
        lock(&self.counts).add(more);
    }

    /// Whether there is a directory.
    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(true);
        };
        let stat = sys::dir::open_deep(self.walk.root.as_fd(), above)
            .and_then(|above| sys::dir::stat_at(above.as_fd(), name));
        match stat {
            Ok(stat) => Ok(stat.kind() == FileType::Directory),
            // A server that does not know its files any more has not lost this one alone.
            Err(error) if may_have_gone(&error) && !is(&error, Errno::STALE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The node for an entry, with its content stored; of directories without the tree. `None`: it has gone.
    fn entry(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsString,
        old: Option<&Node>,
        path: &Path,
        counts: &mut Counts,
    ) -> Result<Option<Node>, Trouble> {
        let look = || match sys::dir::stat_at(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        };
        let same =
            |a: &Stat, b: &Stat| (a.dev, a.ino, a.mode, a.ctime) == (b.dev, b.ino, b.mode, b.ctime);
        let mut stat = look()?;
        let mut tries = 0;
        while let Some(was) = &stat {
            let mut counted = Counts::default();
            let error = match self.entry_of(dir, name, was, old, path, &mut counted) {
                Ok(node) => {
                    counts.add(&counted);
                    return Ok(Some(node));
                }
                Err(Trouble::Source(error)) if tries < TRIES && may_have_gone(&error) => error,
                Err(trouble) => return Err(trouble),
            };
            // Between the look at it and the reading.
            let now = look()?;
            if now.as_ref().is_some_and(|now| same(was, now)) {
                return Err(error.into());
            }
            stat = now;
            tries += 1;
        }
        Ok(None)
    }

    /// [`Running::entry`] for what was there a moment ago.
    fn entry_of(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsString,
        stat: &Stat,
        old: Option<&Node>,
        path: &Path,
        counts: &mut Counts,
    ) -> Result<Node, Trouble> {
        let with_change = self.walk.compare == Compare::Changed;
        let mut node = Node::of(name, stat, with_change, self.device);
        if node.kind == NodeKind::Other {
            return Err(Trouble::Source(io::ErrorKind::Unsupported.into()));
        }
        node.extended_attributes = match old.filter(|old| self.same_status(old, &node)) {
            Some(old) => old.extended_attributes.clone(),
            None => attributes(Subject::Entry(dir, name))?,
        };
        match node.kind {
            NodeKind::Dir => return Ok(node),
            NodeKind::Symlink => match sys::dir::read_link_at(dir, name) {
                Ok(target) => node.set_target(&target),
                Err(error) => return Err(error.into()),
            },
            NodeKind::File if stat.size > 0 || stat.kind() == FileType::RegularFile => {
                if let Some(content) = old.and_then(|old| self.unchanged(old, &node)) {
                    node.content = Some(content);
                    self.progress(node.size);
                    counts.files += 1;
                    counts.same += 1;
                    counts.bytes += node.size;
                    return Ok(node);
                }
                let linked = (stat.nlink > 1).then_some((stat.dev, stat.ino));
                let (content, size) = self.content(dir, name, path, linked, old)?;
                node.content = Some(content);
                node.size = size;
                counts.bytes += size;
            }
            _ => {}
        }
        counts.files += 1;
        match old {
            None => counts.new += 1,
            Some(old) if *old == node => counts.same += 1,
            Some(_) => counts.changed += 1,
        }
        Ok(node)
    }

    /// Whether nothing at all was changed since the parent, attributes included: each change moves the time of it.
    fn same_status(&self, old: &Node, node: &Node) -> bool {
        self.walk.compare == Compare::Changed
            && (old.kind, old.inode, old.ctime) == (node.kind, node.inode, node.ctime)
            && self.is_long_before_parent(node.ctime)
    }

    fn is_long_before_parent(&self, change: Timestamp) -> bool {
        self.walk
            .parent_time
            .is_some_and(|time| change < time - DOUBT)
    }

    /// The content of the parent's file, when this one is the same and all of it is there.
    fn unchanged(&self, old: &Node, node: &Node) -> Option<Vec<Id>> {
        let inode = |node: &Node| (node.inode, node.ctime);
        let same = old.kind == NodeKind::File
            && old.size == node.size
            && old.mtime == node.mtime
            && match self.walk.compare {
                Compare::Modified => true,
                Compare::Changed => inode(old) == inode(node),
                Compare::Everything => false,
            }
            && self.is_long_before_parent(node.mtime);
        if !same {
            return None;
        }
        let content = old.content.as_ref()?;
        content
            .iter()
            .all(|id| self.packs.has(BlobKind::Data, id))
            .then(|| content.clone())
    }

    fn progress(&self, bytes: u64) {
        self.walk.watch.advance(bytes);
    }

    fn content(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsString,
        path: &Path,
        linked: Option<(u64, u64)>,
        old: Option<&Node>,
    ) -> Result<Content, Trouble> {
        if let Some(known) = linked.and_then(|inode| lock(&self.linked).get(&inode).cloned()) {
            self.progress(known.1);
            return Ok(known);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // Root may keep the time of access; others may not ask for it.
        let opened = match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
            other => other,
        };
        let mut file = File::from(opened.map_err(io::Error::from)?);
        // Somebody may have put something else there since.
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Trouble::Source(io::ErrorKind::Unsupported.into()));
        }
        let stored = if metadata.len() <= LEAST as u64 {
            let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
            (&mut file).take(LEAST as u64).read_to_end(&mut bytes)?;
            if bytes.len() < LEAST {
                let content = match bytes.as_slice() {
                    [] => Vec::new(),
                    bytes => vec![self.packs.add(BlobKind::Data, bytes)?],
                };
                self.progress(bytes.len() as u64);
                (content, bytes.len() as u64)
            } else {
                // It has become longer.
                rustix::fs::seek(&file, SeekFrom::Start(0)).map_err(io::Error::from)?;
                self.large(file, path, old)?
            }
        } else {
            self.large(file, path, old)?
        };
        if let Some(inode) = linked {
            lock(&self.linked).insert(inode, stored.clone());
        }
        Ok(stored)
    }

    fn large(&self, file: File, path: &Path, old: Option<&Node>) -> Result<Content, Trouble> {
        let known = old.and_then(|old| old.content.as_deref());
        let mut guide = known.map_or_else(Guide::default, |content| {
            Guide::new(self.walk.index, content)
        });
        let content: Mutex<Vec<Id>> = Mutex::default();
        let mut count = 0;
        let mut length = 0_u64;
        let result = self.sealers.in_place_scope(|scope| {
            let mut chunks = Chunks::new(&self.cutter, file);
            loop {
                if self.over() {
                    return Err(Trouble::Other(BackupError::Stopped));
                }
                if chunks.is_between() {
                    let zeros = self.hole(chunks.reader(), length)?;
                    for _ in 0..zeros {
                        let id = self.zeros()?;
                        put(&content, count, id);
                        count += 1;
                        length += LEAST as u64;
                        self.progress(LEAST as u64);
                    }
                }
                // From what is not read yet several threads read for themselves.
                let unread = chunks.is_between();
                let ahead = guide.ahead(length, if unread { FAR } else { MOST });
                if !ahead.is_empty() {
                    let same = if unread {
                        ahead.in_file(chunks.reader(), &self.sealers)
                    } else {
                        ahead.in_bytes(chunks.peek(ahead.wanted())?, &self.sealers)
                    };
                    let mut bytes = 0;
                    for (id, size) in same {
                        put(&content, count, id);
                        count += 1;
                        bytes += size;
                    }
                    length += bytes as u64;
                    self.progress(bytes as u64);
                    if unread {
                        rustix::fs::seek(chunks.reader(), SeekFrom::Start(length))
                            .map_err(io::Error::from)?;
                    } else {
                        chunks.skip(bytes);
                    }
                    if bytes > 0 {
                        continue;
                    }
                }
                let Some(chunk) = chunks.next()? else {
                    return Ok(());
                };
                let at = count;
                count += 1;
                length += chunk.len() as u64;
                self.budget.take(chunk.len());
                let content = &content;
                scope.spawn(move |_| {
                    let size = chunk.len();
                    match self.packs.add(BlobKind::Data, &chunk) {
                        Ok(id) => put(content, at, id),
                        Err(error) => self.fail(error),
                    }
                    drop(chunk);
                    self.budget.give(size);
                    self.progress(size as u64);
                });
            }
        });
        tracing::trace!(path = %path.display(), length, "cut");
        result?;
        let content = content.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((content, length))
    }

    /// How many chunks of zeros begin at `at`, according to the filesystem; they are skipped in `file`. The cutter would make
    /// the same ones of the bytes.
    fn hole(&self, file: &File, at: u64) -> io::Result<u64> {
        let end = file.metadata()?.len();
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => end,
            Err(_) => at,
        };
        let chunks = data.saturating_sub(at) / LEAST as u64;
        rustix::fs::seek(file, SeekFrom::Start(at + chunks * LEAST as u64))?;
        Ok(chunks)
    }

    fn zeros(&self) -> Result<Id, BackupError> {
        if let Some(id) = self.zeros.get() {
            return Ok(*id);
        }
        let id = self.packs.add(BlobKind::Data, &vec![0; LEAST])?;
        Ok(*self.zeros.get_or_init(|| id))
    }
}

fn put(content: &Mutex<Vec<Id>>, at: usize, id: Id) {
    let mut content = lock(content);
    if content.len() <= at {
        content.resize(at + 1, Id::default());
    }
    content[at] = id;
}

/// Whether reading an entry can fail so because it has gone, or because something else is there now.
fn may_have_gone(error: &io::Error) -> bool {
    const SO: [Errno; 6] = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::NXIO,
        Errno::STALE,
        Errno::INVAL,
    ];
    SO.iter().any(|errno| is(error, *errno)) || error.kind() == io::ErrorKind::Unsupported
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

enum Trouble {
    Source(io::Error),
    Other(BackupError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<BackupError> for Trouble {
    fn from(error: BackupError) -> Self {
        Self::Other(error)
    }
}

fn attributes(subject: Subject<'_>) -> io::Result<Vec<Attribute>> {
    let mut names = match xattr::list(subject) {
        // It has gone; whoever opens it will say so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    names.sort_unstable();
    let mut attributes = Vec::with_capacity(names.len());
    for name in names {
        if let Some(value) = xattr::get(subject, &name)? {
            attributes.push(Attribute {
                name: String::from_utf8_lossy(name.as_bytes()).into_owned(),
                value: Some(value),
            });
        }
    }
    Ok(attributes)
}

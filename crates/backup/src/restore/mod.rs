//! Restores a backup, or a part of one, into a directory.
//!
//! Guarantees: every byte that is written was checked against the hash that the backup has of it; nothing outside the target is
//! made or changed, whatever the trees say, as names that are no plain names are refused and every path is opened below the
//! target without following links; what is there already is never overwritten. After an error a part is there. Nothing is
//! synced.
//!
//! Steps, for some thousands of files at a time so that the memory is bounded: 1. directories, links and special files are made
//! in the order of the trees, files are only planned; 2. for each pack that is needed, the blobs of it are read, opened and
//! written wherever they belong, by several threads; whoever writes the last blob of a file gives it its attributes. At the end:
//! 3. further names of files are linked; 4. directories get their attributes, from below.

mod attributes;
#[cfg(test)]
mod hostile;
mod plan;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustic_core::Id;
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::BackupError;
use crate::index::{BlobKind, Index};
use crate::node::{Node, NodeKind};
use crate::place::{Kind, Name};
use crate::repository::{Repository, Watch, pool, threads};
use crate::view::plain_name;
use plan::{Batch, Needed, PlannedFile};

/// Runs of zeros are left out, so that holes come back; filesystems keep track of pieces of this length.
const PIECE: usize = 4096;
/// Most that is read from a pack at once, and the most that is read in vain between two blobs.
const READ: u64 = 16 * 1024 * 1024;
const GAP: u64 = 128 * 1024;
/// Reading from far away waits more than it computes.
const READERS: usize = 4;
/// Nobody else sees what is not complete.
const INCOMPLETE: Mode = Mode::from_raw_mode(0o600);
const INCOMPLETE_DIRECTORY: Mode = Mode::from_raw_mode(0o700);

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    pub files: u64,
    pub directories: u64,
    /// Symbolic links, devices, fifos, sockets.
    pub others: u64,
    /// Of files.
    pub bytes: u64,
    /// Extended attributes that the filesystem or the kernel did not take.
    pub attributes_lost: u64,
    /// Entries of kinds that do not exist here.
    pub skipped: u64,
}

impl Repository {
    /// Restores what is in the directory `subpath` of a backup, and that directory's own attributes, into the existing directory
    /// `to`; a single file gets its own name there.
    ///
    /// # Errors
    /// [`BackupError::NoPath`], [`BackupError::Damaged`] with pack and blob, [`BackupError::Hostile`],
    /// [`BackupError::Target`] (`AlreadyExists` for what is in the way), [`BackupError::Stopped`]; those of the place.
    pub fn restore(
        &self,
        backup: Id,
        subpath: &Path,
        to: &Path,
        watch: &dyn Watch,
    ) -> Result<Restored, BackupError> {
        let _lock = self.lock_to_read()?;
        let index = self.index()?;
        let found = self.look_up(&index, backup, subpath)?;
        let root = sys::dir::open(to).map_err(|source| BackupError::Target {
            path: to.to_owned(),
            source,
        })?;
        let restoring = Restoring {
            repository: self,
            index: &index,
            backup,
            root: &root,
            to,
            watch,
            lost: AtomicU64::new(0),
        };
        let mut progress = Progress::default();
        match (found.tree, found.node) {
            (Some(tree), node) => {
                restoring.tree(tree, &mut progress)?;
                if let Some(node) = node {
                    progress.directories.push((PathBuf::new(), node));
                }
            }
            (None, Some(node)) => {
                restoring.entry(Path::new(""), node, &mut progress)?;
            }
            (None, None) => {}
        }
        restoring.write(&mut progress)?;
        restoring.link(&progress)?;
        for (path, node) in progress.directories.iter().rev() {
            restoring.directory_attributes(path, node)?;
        }
        progress.done.attributes_lost = restoring.lost.into_inner();
        Ok(progress.done)
    }
}

struct Restoring<'a> {
    repository: &'a Repository,
    index: &'a Index,
    backup: Id,
    root: &'a OwnedFd,
    to: &'a Path,
    watch: &'a dyn Watch,
    lost: AtomicU64,
}

#[derive(Default)]
struct Progress {
    batch: Batch,
    /// In the order in which they were made: those below behind those above.
    directories: Vec<(PathBuf, Node)>,
    /// The first name of each file that has several.
    first_names: HashMap<(u64, u64), PathBuf>,
    /// Further names: what to link, and as what.
    links: Vec<(PathBuf, PathBuf)>,
    total: u64,
    done: Restored,
}

impl Restoring<'_> {
    fn target(&self, path: &Path, source: impl Into<io::Error>) -> BackupError {
        BackupError::Target {
            path: self.to.join(path),
            source: source.into(),
        }
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, BackupError> {
        sys::dir::open_deep(self.root.as_fd(), path).map_err(|error| self.target(path, error))
    }

    fn tree(&self, root: Id, progress: &mut Progress) -> Result<(), BackupError> {
        let nodes = |id| -> Result<_, BackupError> {
            Ok(self.repository.tree(self.index, id)?.nodes.into_iter())
        };
        let mut ahead = vec![(PathBuf::new(), nodes(root)?)];
        while let Some((above, entries)) = ahead.last_mut() {
            let Some(node) = entries.next() else {
                ahead.pop();
                continue;
            };
            let subtree = node.subtree;
            let is_directory = node.kind == NodeKind::Dir;
            let above = above.clone();
            let path = self.entry(&above, node, progress)?;
            if progress.batch.is_full() {
                self.write(progress)?;
            }
            if let Some(subtree) = subtree.filter(|_| is_directory) {
                ahead.push((path, nodes(subtree)?));
            }
        }
        Ok(())
    }

    /// Makes or plans one entry of the directory `above`; its path.
    fn entry(
        &self,
        above: &Path,
        mut node: Node,
        progress: &mut Progress,
    ) -> Result<PathBuf, BackupError> {
        if self.watch.stop() {
            return Err(BackupError::Stopped);
        }
        let name = plain_name(self.backup, &node)?;
        let path = above.join(&name);
        match node.kind {
            NodeKind::File => self.plan(above, &name, &path, node, progress)?,
            NodeKind::Dir => {
                let dir = self.open(above)?;
                rustix::fs::mkdirat(&dir, &name, INCOMPLETE_DIRECTORY)
                    .map_err(|error| self.target(&path, error))?;
                node.content = None;
                progress.done.directories += 1;
                progress.directories.push((path.clone(), node));
            }
            NodeKind::Other => {
                tracing::warn!(path = %path.display(), "of a kind that cannot be restored");
                progress.done.skipped += 1;
            }
            kind => {
                let first = node.links > 1 && self.is_further_name(&node, &path, progress);
                if first {
                    return Ok(path);
                }
                let dir = self.open(above)?;
                self.special(dir.as_fd(), &name, &node, kind)
                    .and_then(|()| attributes::set_entry(dir.as_fd(), &name, &node))
                    .map(|lost| self.count_lost(lost))
                    .map_err(|error| self.target(&path, error))?;
                progress.done.others += 1;
            }
        }
        Ok(path)
    }

    fn count_lost(&self, lost: u64) {
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Whether another name of the same file came before; it is linked in the end.
    fn is_further_name(&self, node: &Node, path: &Path, progress: &mut Progress) -> bool {
        if node.inode == 0 {
            return false;
        }
        let key = (node.device_id, node.inode);
        match progress.first_names.get(&key) {
            Some(first) => {
                progress.links.push((first.clone(), path.to_owned()));
                true
            }
            None => {
                progress.first_names.insert(key, path.to_owned());
                false
            }
        }
    }

    fn plan(
        &self,
        above: &Path,
        name: &OsStr,
        path: &Path,
        mut node: Node,
        progress: &mut Progress,
    ) -> Result<(), BackupError> {
        progress.done.files += 1;
        if node.links > 1 && self.is_further_name(&node, path, progress) {
            return Ok(());
        }
        let content = node.content.take().unwrap_or_default();
        let file = PlannedFile::new(above.to_owned(), name.to_owned(), node, content.len());
        if content.is_empty() {
            let dir = self.open(above)?;
            let made = create(dir.as_fd(), name).map_err(|error| self.target(path, error))?;
            return self.complete(&file, &made, 0);
        }
        progress.total += progress
            .batch
            .add(self.index, file, &content)
            .map_err(|id| self.repository.nowhere(self.index, id))?;
        self.watch.total(progress.total);
        Ok(())
    }

    fn special(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        node: &Node,
        kind: NodeKind,
    ) -> io::Result<()> {
        use rustix::fs::FileType;
        let kind = match kind {
            NodeKind::Symlink => {
                rustix::fs::symlinkat(node.target(), dir, name)?;
                return Ok(());
            }
            NodeKind::Block => FileType::BlockDevice,
            NodeKind::Character => FileType::CharacterDevice,
            NodeKind::Fifo => FileType::Fifo,
            _ => FileType::Socket,
        };
        rustix::fs::mknodat(dir, name, kind, INCOMPLETE, node.device)?;
        Ok(())
    }

    /// Writes what was planned.
    fn write(&self, progress: &mut Progress) -> Result<(), BackupError> {
        let batch = std::mem::take(&mut progress.batch);
        if batch.files.is_empty() {
            return Ok(());
        }
        let Batch { files, packs, .. } = batch;
        let failed = AtomicBool::new(false);
        let first: Mutex<Option<BackupError>> = Mutex::new(None);
        let written = AtomicU64::new(0);
        pool(threads().max(READERS))?.install(|| {
            packs.into_par_iter().for_each(|(pack, mut needed)| {
                needed.sort_unstable_by_key(|needed| needed.spot.offset);
                for range in plan::ranges(&needed, READ, GAP) {
                    if failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let done = self.range(self.index.pack(pack), &needed[range], &files);
                    match done {
                        Ok(bytes) => {
                            written.fetch_add(bytes, Ordering::Relaxed);
                        }
                        Err(error) => {
                            failed.store(true, Ordering::Relaxed);
                            first
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .get_or_insert(error);
                        }
                    }
                }
            });
        });
        if let Some(error) = first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        progress.done.bytes += written.into_inner();
        Ok(())
    }

    /// Reads neighbouring blobs of a pack and writes them.
    fn range(
        &self,
        pack: Id,
        needed: &[Needed],
        files: &[PlannedFile],
    ) -> Result<u64, BackupError> {
        let (Some(first), Some(last)) = (needed.first(), needed.last()) else {
            return Ok(0);
        };
        let start = u64::from(first.spot.offset);
        let end = u64::from(last.spot.offset) + u64::from(last.spot.length);
        let name = Name::new(Kind::Pack, pack);
        let sealed = self.repository.storage.read_part(name, start, end - start);
        let sealed = match sealed.map_err(BackupError::from) {
            // Blob by blob below: another pack may have them.
            Err(error) if error.is_loss() => Bytes::new(),
            other => other?,
        };
        let mut written = 0;
        for needed in needed {
            if self.watch.stop() {
                return Err(BackupError::Stopped);
            }
            let from = (needed.spot.offset - first.spot.offset) as usize;
            let blob = sealed
                .get(from..from + needed.spot.length as usize)
                .and_then(|sealed| self.repository.open_blob(sealed, needed.spot, needed.id));
            let blob = match blob {
                Some(blob) => blob,
                None => self
                    .repository
                    .blob(self.index, BlobKind::Data, needed.id)?,
            };
            for (file, at) in &needed.wanted {
                self.put(&files[*file as usize], *at, &blob)?;
                written += blob.len() as u64;
                self.watch.advance(blob.len() as u64);
            }
        }
        Ok(written)
    }

    /// Writes one blob of a file, and ends the file if it was the last.
    fn put(&self, file: &PlannedFile, at: u64, blob: &[u8]) -> Result<(), BackupError> {
        let path = || file.above.join(&file.name);
        let failed = |error: io::Error| self.target(&path(), error);
        let dir = self.open(&file.above)?;
        let opened = {
            let mut made = file.made.lock().unwrap_or_else(PoisonError::into_inner);
            if *made {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&dir, &file.name, flags, Mode::empty())
                    .map(File::from)
                    .map_err(io::Error::from)
            } else {
                let created = create(dir.as_fd(), &file.name);
                *made = created.is_ok();
                created
            }
        }
        .map_err(failed)?;
        write_pieces(&opened, at, blob).map_err(failed)?;
        let end = at + blob.len() as u64;
        let length = file.length.fetch_max(end, Ordering::AcqRel).max(end);
        if file.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            return self.complete(file, &opened, length);
        }
        Ok(())
    }

    fn complete(&self, file: &PlannedFile, opened: &File, length: u64) -> Result<(), BackupError> {
        let complete = || {
            if length > 0 && opened.metadata()?.len() != length {
                opened.set_len(length)?;
            }
            attributes::set_open(opened.as_fd(), &file.node)
        };
        let lost = complete().map_err(|error| self.target(&file.above.join(&file.name), error))?;
        self.count_lost(lost);
        Ok(())
    }

    fn link(&self, progress: &Progress) -> Result<(), BackupError> {
        for (first, further) in &progress.links {
            let (Some(from), Some(to)) = (split(first), split(further)) else {
                continue;
            };
            let from_dir = self.open(from.0)?;
            let to_dir = self.open(to.0)?;
            rustix::fs::linkat(&from_dir, from.1, &to_dir, to.1, AtFlags::empty())
                .map_err(|error| self.target(further, error))?;
        }
        Ok(())
    }

    fn directory_attributes(&self, path: &Path, node: &Node) -> Result<(), BackupError> {
        let dir = self.open(path)?;
        let lost =
            attributes::set_open(dir.as_fd(), node).map_err(|error| self.target(path, error))?;
        self.count_lost(lost);
        Ok(())
    }
}

fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

fn create(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, INCOMPLETE)?.into())
}

/// Writes all but whole pieces of zeros.
fn write_pieces(file: &File, at: u64, blob: &[u8]) -> io::Result<()> {
    let misaligned = usize::try_from(at % PIECE as u64).unwrap_or(0);
    let mut start = 0;
    let mut end = 0;
    let mut next = (PIECE - misaligned).min(blob.len());
    while end < blob.len() {
        let piece = &blob[end..next];
        if piece.len() == PIECE && piece.iter().all(|byte| *byte == 0) {
            file.write_all_at(&blob[start..end], at + start as u64)?;
            start = next;
        }
        end = next;
        next = (next + PIECE).min(blob.len());
    }
    file.write_all_at(&blob[start..end], at + start as u64)
}

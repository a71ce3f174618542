//! Looking into a repository: its backups, what is in them, the contents of single files.

use std::ffi::OsStr;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use rustic_core::Id;

use crate::error::BackupError;
use crate::index::{BlobKind, Index};
use crate::node::{Node, NodeKind, Tree};
use crate::place::{Kind, Name};
use crate::repository::{Repository, missing};
use crate::snapshot::{Backup, Snapshot};

/// What an entry of a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Symlink,
    BlockDevice,
    CharacterDevice,
    Fifo,
    Socket,
    /// Of a kind that another program saved and that does not exist here.
    Unknown,
}

/// Something in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the root of the backup, absolute.
    pub path: PathBuf,
    pub kind: EntryKind,
    /// The twelve bits of `chmod`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of files.
    pub size: u64,
    pub mtime: Timestamp,
    /// Of symbolic links.
    pub target: Option<PathBuf>,
}

impl Entry {
    fn of(path: PathBuf, node: &Node) -> Self {
        let target = (node.kind == NodeKind::Symlink).then(|| PathBuf::from(node.target()));
        Self {
            path,
            kind: match node.kind {
                NodeKind::File => EntryKind::File,
                NodeKind::Dir => EntryKind::Directory,
                NodeKind::Symlink => EntryKind::Symlink,
                NodeKind::Block => EntryKind::BlockDevice,
                NodeKind::Character => EntryKind::CharacterDevice,
                NodeKind::Fifo => EntryKind::Fifo,
                NodeKind::Socket => EntryKind::Socket,
                NodeKind::Other => EntryKind::Unknown,
            },
            mode: node.permissions(),
            uid: node.uid,
            gid: node.gid,
            size: node.size,
            mtime: node.mtime,
            target,
        }
    }
}

/// A node, and where it is.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// `None` for the root, which has no node.
    pub(crate) node: Option<Node>,
    /// Of directories.
    pub(crate) tree: Option<Id>,
}

/// Records that can be read, and the others.
type Readable = (Vec<(Id, Snapshot)>, Vec<Id>);

impl Repository {
    /// All backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with the one that cannot be read; those of the place.
    pub fn backups(&self) -> Result<Vec<Backup>, BackupError> {
        Ok(in_order(self.snapshots()?))
    }

    /// All backups whose records can be read, oldest first, and the ids of the others.
    ///
    /// # Errors
    /// Those of the place.
    pub fn readable_backups(&self) -> Result<(Vec<Backup>, Vec<Id>), BackupError> {
        let (snapshots, damaged) = self.readable_snapshots()?;
        Ok((in_order(snapshots), damaged))
    }

    /// The backup whose id is, or begins with, `text`.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`], [`BackupError::Ambiguous`]; those of the place.
    pub fn find(&self, text: &str) -> Result<Backup, BackupError> {
        let ids = self.storage.list(Kind::Snapshot)?;
        let mut matching = ids
            .iter()
            .filter(|(id, _)| !text.is_empty() && id.to_hex().starts_with(text));
        let (place, text) = (self.shown(), text.to_owned());
        match (matching.next(), matching.next()) {
            (Some((id, _)), None) => Ok(Backup::of(*id, self.snapshot(*id)?)),
            (None, _) => Err(BackupError::NoBackup { place, text }),
            (Some(_), Some(_)) => Err(BackupError::Ambiguous { place, text }),
        }
    }

    pub(crate) fn snapshots(&self) -> Result<Vec<(Id, Snapshot)>, BackupError> {
        let (snapshots, damaged) = self.readable_snapshots()?;
        match damaged.first() {
            Some(id) => Err(self.damaged(Name::new(Kind::Snapshot, *id).to_string())),
            None => Ok(snapshots),
        }
    }

    pub(crate) fn readable_snapshots(&self) -> Result<Readable, BackupError> {
        let (mut snapshots, mut damaged) = (Vec::new(), Vec::new());
        for (id, _) in self.storage.list(Kind::Snapshot)? {
            match self.file(&*self.storage, Name::new(Kind::Snapshot, id)) {
                Ok(snapshot) => snapshots.push((id, snapshot)),
                // Forgotten meanwhile.
                Err(BackupError::Place(error)) if error.is_missing() => {}
                Err(BackupError::Damaged { .. }) => damaged.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok((snapshots, damaged))
    }

    pub(crate) fn snapshot(&self, id: Id) -> Result<Snapshot, BackupError> {
        let name = Name::new(Kind::Snapshot, id);
        let sealed = missing(self.storage.read(name), || BackupError::NoBackup {
            place: self.shown(),
            text: id.to_hex().to_string(),
        })?;
        self.understand(name, &sealed)
    }

    /// Calls `each` for what is in the directory `path` of a backup, or for the one file that it is; directories come before
    /// what is in them. `each` may end it.
    ///
    /// # Errors
    /// [`BackupError::NoPath`]; those of the place; [`BackupError::Damaged`].
    pub fn list(
        &self,
        backup: Id,
        path: &Path,
        recursive: bool,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), BackupError> {
        let _lock = self.lock_to_read()?;
        let index = self.index()?;
        let found = self.look_up(&index, backup, path)?;
        let Some(tree) = found.tree else {
            if let Some(node) = &found.node {
                // There is nothing else that could be left out.
                each(Entry::of(found.path, node)).is_break();
            }
            return Ok(());
        };
        let mut ahead: Vec<(PathBuf, std::vec::IntoIter<Node>)> =
            vec![(found.path, self.tree(&index, tree)?.nodes.into_iter())];
        while let Some((above, nodes)) = ahead.last_mut() {
            let Some(node) = nodes.next() else {
                ahead.pop();
                continue;
            };
            let path = above.join(plain_name(backup, &node)?);
            if each(Entry::of(path.clone(), &node)).is_break() {
                return Ok(());
            }
            if let Some(subtree) = node.subtree.filter(|_| recursive) {
                ahead.push((path, self.tree(&index, subtree)?.nodes.into_iter()));
            }
        }
        Ok(())
    }

    /// Writes the contents of the file `path` of a backup to `to`.
    ///
    /// # Errors
    /// [`BackupError::NoPath`], [`BackupError::NotAFile`], [`BackupError::Output`]; those of the place;
    /// [`BackupError::Damaged`], after a part was written.
    pub fn cat(&self, backup: Id, path: &Path, to: &mut dyn Write) -> Result<(), BackupError> {
        let _lock = self.lock_to_read()?;
        let index = self.index()?;
        let found = self.look_up(&index, backup, path)?;
        let shown = path.display().to_string();
        let file = found.node.filter(|node| node.kind == NodeKind::File);
        let Some(file) = file else {
            return Err(BackupError::NotAFile {
                backup: backup.to_hex().to_string(),
                path: shown,
            });
        };
        let output = |source| BackupError::Output {
            path: shown.clone(),
            source,
        };
        for id in file.content.unwrap_or_default() {
            let blob = self.blob(&index, BlobKind::Data, id)?;
            to.write_all(&blob).map_err(output)?;
        }
        to.flush().map_err(output)
    }

    /// What is at `path` in a backup; links are not followed.
    pub(crate) fn look_up(
        &self,
        index: &Index,
        backup: Id,
        path: &Path,
    ) -> Result<Found, BackupError> {
        let snapshot = self.snapshot(backup)?;
        let none = || BackupError::NoPath {
            backup: backup.to_hex().to_string(),
            path: path.display().to_string(),
        };
        let mut found = Found {
            path: PathBuf::from("/"),
            node: None,
            tree: Some(snapshot.tree),
        };
        for step in path.components() {
            let name = match step {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => return Err(none()),
            };
            let Tree { nodes } = self.tree(index, found.tree.ok_or_else(none)?)?;
            let node = nodes
                .into_iter()
                .find(|node| *node.file_name() == *name)
                .ok_or_else(none)?;
            found.path.push(name);
            found.tree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
            found.node = Some(node);
        }
        Ok(found)
    }
}

fn in_order(snapshots: Vec<(Id, Snapshot)>) -> Vec<Backup> {
    let mut backups: Vec<_> = snapshots
        .into_iter()
        .map(|(id, snapshot)| Backup::of(id, snapshot))
        .collect();
    backups.sort_by_key(|backup| (backup.time, backup.id));
    backups
}

/// The name of a node, if it is a name: a hostile tree may have anything.
pub(crate) fn plain_name(backup: Id, node: &Node) -> Result<std::ffi::OsString, BackupError> {
    let name = node.file_name();
    if is_plain(&name) {
        Ok(name.into_owned())
    } else {
        Err(BackupError::Hostile {
            backup: backup.to_hex().to_string(),
            name: name.to_string_lossy().escape_debug().to_string(),
        })
    }
}

fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/') && !bytes.contains(&0)
}

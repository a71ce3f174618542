//! Makes a backup of a directory.
//!
//! Guarantees: a backup is recorded only when every file of the source was read and everything it refers to is durable in the
//! repository and in its index; whatever fails, or is stopped or killed, leaves no backup, and what it stored already is not
//! stored again by the next run.
//!
//! Steps: 1. the repository is locked against pruning; 2. index and parent are read, and which packs are there: what is lost is
//! stored again; 3. threads walk the directory, cut and
//! seal what is new, and fill packs; 4. packs are written, and now and then a part of the index; 5. the rest of the index is
//! written; 6. a source that others may write to is found untouched, the lock to be still ours; 7. the backup is recorded;
//! 8. the lock is removed.
//!
//! What is trusted: a file whose size and time of change are those of the parent's is not read again, unless that time is so
//! near the parent's own that a later change may have the same. A program that changes contents without size and sets the
//! time back is not noticed; [`Compare::Everything`] notices.

mod budget;
mod chunk;
mod cursor;
mod guide;
mod packs;
mod walk;

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use jiff::Timestamp;
use rustic_core::Id;
use sys::catch_up::Began;
use sys::untouched::is_untouched;

use crate::error::BackupError;
use crate::index::{BlobKind, Index};
use crate::node::{Node, Tree};
use crate::place::{Kind, Name};
use crate::repository::{Repository, Watch};
use crate::snapshot::{Snapshot, Summary};
pub(crate) use packs::Packs;
use walk::{Counts, Walk};

/// When a file is taken to be what it was in the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// Size and time of modification are the same: for sources that are copies, whose inodes are others each time.
    #[default]
    Modified,
    /// Inode and time of change too: for sources that stay in place.
    Changed,
    /// Never: all is read. What is known is not stored again all the same.
    Everything,
}

/// Which backup to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent {
    /// The newest of the same host and path.
    #[default]
    Newest,
    This(Id),
    None,
}

/// What to save, and as what.
#[derive(Debug, Clone)]
pub struct Save<'a> {
    /// What the source is called in the backup, the same at every run: `/volumes/NAME`. The source itself is below it, as
    /// `_data`.
    pub as_path: &'a str,
    pub host: &'a str,
    pub tags: &'a [String],
    pub description: Option<&'a str>,
    /// When the source was as it is: that of the snapshot. `None`: now.
    pub time: Option<Timestamp>,
    /// Files beside `_data`: plain names and contents.
    pub extra: &'a [(&'a str, &'a [u8])],
    pub parent: Parent,
    pub compare: Compare,
    /// The moment since which nobody may have touched the source, right after its filesystem was synced; for a source that
    /// others can write to.
    pub untouched_since: Option<&'a Began>,
    /// The name and version that the record says the backup was made by.
    pub program: &'a str,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub id: Id,
    pub tree: Id,
    pub parent: Option<Id>,
    /// Everything but directories.
    pub files: u64,
    pub bytes: u64,
    /// Of files, what the repository did not have before.
    pub new_bytes: u64,
    /// What the repository grew by, compressed and sealed, without the index.
    pub stored_bytes: u64,
    /// A sentence for each file of the repository that is not what it was: nothing of it is in this backup, which is whole, but
    /// earlier ones may not be.
    pub lost: Vec<String>,
}

impl Repository {
    /// Saves the directory `source`, which nobody should be changing.
    ///
    /// Blocks for as long as it takes. Files that cannot be read are all tried, and then the first is the error.
    ///
    /// # Errors
    /// [`BackupError::Unreadable`], [`BackupError::Touched`], [`BackupError::Stopped`], [`BackupError::Locked`]; those of
    /// the place.
    pub fn save(
        &self,
        source: &Path,
        save: &Save<'_>,
        watch: &dyn Watch,
    ) -> Result<Saved, BackupError> {
        let began = Timestamp::now();
        let above = plain_names(save.as_path)?;
        for (name, _) in save.extra {
            if name.is_empty()
                || name.contains(['/', '\0'])
                || matches!(*name, "." | ".." | "_data")
            {
                return Err(BackupError::ExtraName {
                    name: (*name).to_owned(),
                });
            }
        }
        let root = sys::dir::open(source).map_err(unreadable(source))?;
        let lock = self.lock_shared()?;
        let survey = self.survey()?;
        let (index, mut lost) = (survey.index(), survey.sentences());
        drop(survey);
        let parent = self.parent(save, &mut lost)?;
        let parent_tree = match &parent {
            Some((_, snapshot)) => self.subtree(&index, snapshot.tree, &above)?,
            None => None,
        };
        let data_tree = parent_tree.as_ref().and_then(|tree| {
            let data = tree.nodes.iter().find(|node| node.name == "_data");
            data.and_then(|node| node.subtree)
        });
        if let Some(bytes) = parent.as_ref().and_then(|(_, it)| it.summary.as_ref()) {
            watch.total(bytes.total_bytes_processed);
        }
        let walk = Walk {
            repository: self,
            index: &index,
            root: &root,
            source,
            compare: save.compare,
            parent_time: parent.as_ref().map(|(_, snapshot)| snapshot.time),
            watch,
        };
        let time = save.time.unwrap_or(began);
        let finished = Packs::run(self, &index, |packs| {
            let (data, counts) = walk.run(packs, data_tree)?;
            let top = self.top(packs, data, &above, save, time)?;
            Ok((top, counts))
        });
        let ((tree, counts), stored) = finished?;
        if watch.stop() {
            return Err(BackupError::Stopped);
        }
        if let Some(since) = save.untouched_since {
            refuse_touched(root.as_fd(), since, source)?;
        }
        let parent = parent.map(|(id, _)| id);
        let snapshot = Snapshot {
            time,
            parent,
            tree,
            paths: vec![save.as_path.to_owned()],
            hostname: save.host.to_owned(),
            username: String::new(),
            uid: 0,
            gid: 0,
            tags: save.tags.to_vec(),
            program_version: save.program.to_owned(),
            description: save.description.map(str::to_owned),
            summary: Some(summary(began, &counts, &stored)),
        };
        lock.still_held()?;
        let id = self.save_file(Kind::Snapshot, &snapshot)?;
        lock.release();
        Ok(Saved {
            id,
            tree,
            parent,
            files: counts.files,
            bytes: counts.bytes,
            new_bytes: stored.new_data,
            stored_bytes: stored.stored,
            lost,
        })
    }

    fn parent(
        &self,
        save: &Save<'_>,
        lost: &mut Vec<String>,
    ) -> Result<Option<(Id, Snapshot)>, BackupError> {
        match save.parent {
            Parent::None => Ok(None),
            Parent::This(id) => Ok(Some((id, self.snapshot(id)?))),
            Parent::Newest => {
                let (mut all, damaged) = self.readable_snapshots()?;
                lost.extend(
                    damaged
                        .iter()
                        .map(|id| format!("{} is damaged", Name::new(Kind::Snapshot, *id))),
                );
                all.retain(|(_, snapshot)| {
                    snapshot.hostname == save.host && snapshot.paths == [save.as_path]
                });
                Ok(all.into_iter().max_by_key(|(id, it)| (it.time, *id)))
            }
        }
    }

    /// The tree at the path of these names, if there is one. A parent that cannot be read makes a backup slow, not impossible.
    fn subtree(
        &self,
        index: &Index,
        root: Id,
        names: &[&str],
    ) -> Result<Option<Tree>, BackupError> {
        let mut id = root;
        for name in names {
            let tree = match self.tree(index, id) {
                Ok(tree) => tree,
                Err(error) if error.is_loss() => {
                    tracing::warn!(%error, "the parent is damaged and not compared with");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let node = tree.nodes.into_iter().find(|node| node.name == *name);
            match node.and_then(|node| node.subtree) {
                Some(subtree) => id = subtree,
                None => return Ok(None),
            }
        }
        match self.tree(index, id) {
            Err(error) if error.is_loss() => Ok(None),
            other => other.map(Some),
        }
    }

    /// The trees above the source, up to the root.
    fn top(
        &self,
        packs: &Packs<'_>,
        data: Node,
        above: &[&str],
        save: &Save<'_>,
        time: Timestamp,
    ) -> Result<Id, BackupError> {
        let mut nodes = vec![data];
        for (name, bytes) in save.extra {
            let content = chunk::whole(self, packs, bytes)?;
            nodes.push(Node::beside(name, bytes.len() as u64, time, content));
        }
        nodes.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let mut id = packs.add_tree(&Tree { nodes })?;
        for name in above.iter().rev() {
            let nodes = vec![Node::above(name, id)];
            id = packs.add_tree(&Tree { nodes })?;
        }
        Ok(id)
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> BackupError {
    move |source| BackupError::Source {
        path: path.to_owned(),
        source,
    }
}

fn refuse_touched(root: BorrowedFd<'_>, since: &Began, source: &Path) -> Result<(), BackupError> {
    if is_untouched(root, since).map_err(unreadable(source))? {
        return Ok(());
    }
    Err(BackupError::Touched {
        path: source.to_owned(),
    })
}

/// The names of which an absolute path is made.
fn plain_names(path: &str) -> Result<Vec<&str>, BackupError> {
    let bad = || BackupError::Path {
        path: path.to_owned(),
    };
    let names: Vec<&str> = path.strip_prefix('/').ok_or_else(bad)?.split('/').collect();
    let plain = |name: &str| {
        !matches!(name, "" | "." | "..")
            && !name.contains(|c: char| c.is_control() || matches!(c, '\\' | '"'))
    };
    if names.iter().copied().all(plain) {
        Ok(names)
    } else {
        Err(bad())
    }
}

fn summary(began: Timestamp, counts: &Counts, stored: &packs::Stored) -> Summary {
    Summary {
        backup_start: began,
        backup_end: Timestamp::now(),
        files_new: counts.new,
        files_changed: counts.changed,
        files_unmodified: counts.same,
        dirs_new: counts.directories_new,
        dirs_changed: counts.directories_changed,
        dirs_unmodified: counts.directories_same,
        data_blobs: stored.blobs(BlobKind::Data),
        tree_blobs: stored.blobs(BlobKind::Tree),
        data_added: stored.new_data + stored.new_trees,
        data_added_packed: stored.stored,
        total_files_processed: counts.files,
        total_bytes_processed: counts.bytes,
    }
}

//! Contents from elsewhere into a volume: what [`crate::populate`], [`crate::import`] and [`crate::reseed`] have in common.
//!
//! Everything is staged first, so that a source that is broken, hostile or too large changes nothing in the volume.
//! The entries are then moved into place one after the other: who uses the volume meanwhile sees each of them either
//! whole or not yet.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `stage`: the new contents are in `staging/<op>/tree`, durable; the commit point
//! 3. `merge`: each entry is moved into the volume, and the volume's root gets the attributes of the tree's; then
//!    staging goes, and so does what the new contents have no more
//!
//! The source cannot be read again after a crash, which is why the commit point is 2: before it nothing has happened,
//! after it recovery moves the rest. A merge that *fails* is given up where it stands, with an error that says so: if
//! it were resumed at some later start, it could undo what users did to the volume in the meantime.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, OFlags};
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, VolumeId, VolumeRow, VolumeState, WriteTx};
use sys::copy_tree::{Copied, CopyError, CopyOptions, copy_tree};

use crate::merge::{self, Existing};
use crate::observer::Observed;
use crate::{Observer, Unobserved, VolumeError, Volumes, open_directory};

/// Where the contents come from.
pub(crate) enum Source<'a> {
    Tree(BorrowedFd<'a>),
    /// A tar stream.
    Archive(Box<dyn Read + Send + 'a>),
    /// Of a tree these paths only, absolute from its root, and the directories that lead to them.
    Chosen(BorrowedFd<'a>, &'a BTreeSet<PathBuf>),
}

/// What becomes of what is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) existing: Existing,
    /// Goes afterwards: absolute paths, directories behind what is in them. Directories that hold anything stay.
    #[serde(default)]
    pub(crate) remove: Vec<PathBuf>,
    /// Noted as what filled the volume.
    #[serde(default)]
    pub(crate) seed: Option<String>,
}

impl Wish {
    pub(crate) fn new(existing: Existing) -> Self {
        Self {
            existing,
            remove: Vec::new(),
            seed: None,
        }
    }
}

pub(crate) struct Context<'a> {
    volumes: &'a Volumes,
    /// Taken by the step that reads it; recovery has none.
    source: Cell<Option<Source<'a>>>,
    /// Why merges were given up.
    pub(crate) given_up: RefCell<Vec<VolumeError>>,
    observer: &'a dyn Observer,
}

impl<'a> Context<'a> {
    pub(crate) fn for_recovery(volumes: &'a Volumes) -> Self {
        Self {
            volumes,
            source: Cell::new(None),
            given_up: RefCell::default(),
            observer: &Unobserved,
        }
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fill {
    id: VolumeId,
    name: String,
    subpath: Option<String>,
    #[serde(flatten)]
    wish: Wish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Stage,
    Merge,
}

impl Volumes {
    /// Runs the operation. The caller holds the name's lock and has the volume mounted.
    pub(crate) fn fill(
        &self,
        row: &VolumeRow,
        subpath: Option<&str>,
        source: Source<'_>,
        wish: Wish,
    ) -> Result<(), VolumeError> {
        self.fill_observed(row, subpath, source, wish, &Unobserved)
    }

    /// As [`Volumes::fill`], of a tree and under the eyes of `observer`, which may stop it until the commit point.
    pub(crate) fn fill_observed(
        &self,
        row: &VolumeRow,
        subpath: Option<&str>,
        source: Source<'_>,
        wish: Wish,
        observer: &dyn Observer,
    ) -> Result<(), VolumeError> {
        let fill = Fill {
            id: row.id.clone(),
            name: row.name.clone(),
            subpath: subpath.map(str::to_owned),
            wish,
        };
        let context = Context {
            volumes: self,
            source: Cell::new(Some(source)),
            given_up: RefCell::default(),
            observer,
        };
        journal::execute(&self.store, &fill, &context)?;
        if fill.wish.seed.is_some() {
            self.describe(&fill.id);
        }
        context.given_up.into_inner().pop().map_or(Ok(()), Err)
    }

    /// The directory in the volume that is filled; `None` when `subpath` names none.
    pub(crate) fn open_subpath(
        &self,
        row: &VolumeRow,
        subpath: Option<&str>,
    ) -> Result<Option<OwnedFd>, VolumeError> {
        let content = self.open_content(row)?;
        let Some(subpath) = subpath.filter(|subpath| !subpath.is_empty()) else {
            return Ok(Some(content));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match sys::dir::open_beneath(content.as_fd(), Path::new(subpath), flags) {
            Ok(target) => Ok(Some(target)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(VolumeError::Subpath {
                name: row.name.clone(),
                subpath: subpath.to_owned(),
                source,
            }),
        }
    }
}

impl Fill {
    fn stage(&self, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let Context {
            volumes,
            source,
            observer,
            ..
        } = context;
        let observed = Observed::new(&self.name, *observer);
        let row = volumes.row(&self.name)?;
        let (staging, tree) = (volumes.paths.staging(op), volumes.paths.staging_tree(op));
        for directory in [&staging, &tree] {
            sys::durable::create_dir(directory, 0o700)
                .map_err(VolumeError::io("make", directory))?;
        }
        let root = open_directory(&tree).map_err(VolumeError::io("open", &tree))?;
        let source = source
            .take()
            .expect("an operation that has just begun has its source");
        sys::writeback::during(root.as_fd(), |made| {
            self.make(source, volumes, &row, root.as_fd(), &observed, made)
        })
        .map_err(VolumeError::io("write", &tree))??;
        sys::durable::sync_tree(&staging).map_err(VolumeError::io("sync", staging))?;
        if observer.is_stopped() {
            return Err(VolumeError::Cancelled(self.name.clone()));
        }
        Ok(())
    }

    /// Tells `made` how many entries there are.
    fn make(
        &self,
        source: Source<'_>,
        volumes: &Volumes,
        row: &VolumeRow,
        root: BorrowedFd<'_>,
        observed: &Observed<'_>,
        made: &(dyn Fn(u64) + Sync),
    ) -> Result<(), VolumeError> {
        let entries = AtomicU64::new(0);
        let counted = |more: Copied| {
            made(entries.fetch_add(more.entries, Ordering::Relaxed) + more.entries);
            observed.advance(more)
        };
        let uncopied = |source| match source {
            CopyError::Stopped => VolumeError::Cancelled(self.name.clone()),
            source => VolumeError::Populate {
                name: self.name.clone(),
                source,
            },
        };
        match source {
            Source::Tree(source) => {
                let options = CopyOptions {
                    root_attributes: true,
                    watch: Some(&counted),
                    ..CopyOptions::default()
                };
                copy_tree(source, root, &options).map_err(uncopied)?;
            }
            Source::Chosen(source, chosen) => {
                let options = CopyOptions {
                    watch: Some(&counted),
                    ..CopyOptions::default()
                };
                copy_tree(source, root, &options).map_err(uncopied)?;
                let target = self.target(volumes, row)?;
                leave_out(root, Some(target.as_fd()), Path::new("/"), chosen).map_err(
                    VolumeError::io("choose the new contents of", volumes.paths.volume(&row.id)),
                )?;
            }
            Source::Archive(tar) => {
                // The archive decides about the root only if it has an entry for it.
                let target = self.target(volumes, row)?;
                sys::attributes::copy(target.as_fd(), root).map_err(VolumeError::io(
                    "set the attributes of",
                    volumes.paths.volume_content(&row.id),
                ))?;
                unpack_telling(tar, root, &self.name, made)?;
            }
        }
        Ok(())
    }

    fn target(&self, volumes: &Volumes, row: &VolumeRow) -> Result<OwnedFd, VolumeError> {
        volumes
            .open_subpath(row, self.subpath.as_deref())?
            .ok_or_else(|| VolumeError::Subpath {
                name: self.name.clone(),
                subpath: self.subpath.clone().unwrap_or_default(),
                source: io::ErrorKind::NotFound.into(),
            })
    }

    fn merge(&self, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let volumes = context.volumes;
        let tree = volumes.paths.staging_tree(op);
        let from = match open_directory(&tree) {
            Ok(from) => from,
            // All was moved by the attempt that a crash cut short.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(VolumeError::io("open", tree)(error)),
        };
        let row = volumes.store.read(|tx| tx.volume(&self.id))?;
        let Some(row) = row.filter(|row| row.state == VolumeState::Ready) else {
            return Ok(());
        };
        // After a reboot nobody else has done this yet; recovery takes it down again.
        volumes.bring_up(&row)?;
        let Some(to) = volumes.open_subpath(&row, self.subpath.as_deref())? else {
            return Ok(());
        };
        // With it, ext4 would let us write beyond the volume's limit.
        let bounded = sys::capability::bit("CAP_SYS_RESOURCE").unwrap_or_default();
        let _bounded = sys::capability::without(bounded)
            .map_err(VolumeError::io("be bound by the limit of", &self.name))?;
        merge::into(from.as_fd(), to.as_fd(), self.wish.existing)
            .and_then(|()| sys::attributes::copy(from.as_fd(), to.as_fd()))
            .and_then(|()| remove(to.as_fd(), &self.wish.remove))
            .and_then(|()| sys::durable::sync_fd(to.as_fd()))
            .map_err(|source| VolumeError::Merge {
                name: self.name.clone(),
                source,
            })
    }
}

impl Operation for Fill {
    const KIND: &'static str = "volume-fill";
    const STEPS: &'static [(&'static str, Step)] =
        &[("stage", Step::Stage), ("merge", Step::Merge)];
    const COMMIT: Option<Step> = Some(Step::Stage);
    // Recovery removes what is staged for an operation that nobody knows.
    const BEGINS_SOON: bool = true;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Stage => self.stage(op, context),
            Step::Merge => {
                if let Err(error) = self.merge(op, context) {
                    context.given_up.borrow_mut().push(error);
                }
                discard(op, context.volumes)
            }
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if step == Step::Merge && tx.volume(&self.id)?.is_some() {
            let action = match (self.wish.existing, &self.wish.seed) {
                (Existing::Keep, _) => "fill",
                (Existing::Replace, None) => "import",
                (Existing::Replace, Some(_)) => "reseed",
            };
            if let Some(seed) = &self.wish.seed {
                tx.set_volume_seeded(&self.id, seed)?;
            }
            let now = jiff::Timestamp::now().to_string();
            let into = self.subpath.as_deref().unwrap_or_default();
            tx.insert_volume_event(&self.id, &now, action, into)?;
        }
        Ok(())
    }

    fn undo(&self, _step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        discard(op, context.volumes)
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }
}

/// Unpacks a plain archive into the directory `root` of a volume called `name`, writing back while it does.
pub(crate) fn unpack(tar: impl Read + Send, root: &OwnedFd, name: &str) -> Result<(), VolumeError> {
    sys::writeback::during(root.as_fd(), |made| {
        unpack_telling(tar, root.as_fd(), name, made)
    })
    .map_err(VolumeError::io("write", name))?
}

fn unpack_telling(
    tar: impl Read,
    root: BorrowedFd<'_>,
    name: &str,
    made: &(dyn Fn(u64) + Sync),
) -> Result<(), VolumeError> {
    let progress = |unpacked: archive::Unpacked| made(unpacked.entries);
    let options = archive::UnpackOptions {
        progress: Some(&progress),
        ..archive::UnpackOptions::default()
    };
    archive::unpack(tar, root, &options)
        .map(drop)
        .map_err(|source| VolumeError::Import {
            name: name.to_owned(),
            source,
        })
}

/// Takes everything out of the staged directory `path` that is not chosen. Directories that only lead to something look
/// like those of the volume, where it has them, so that these keep owner and mode.
fn leave_out(
    staged: BorrowedFd<'_>,
    volume: Option<BorrowedFd<'_>>,
    path: &Path,
    chosen: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    for entry in sys::dir::read_dir(staged)? {
        let inside = path.join(&entry.name);
        let wanted = chosen.contains(&inside);
        if sys::dir::stat_at(staged, &entry.name)?.kind() != FileType::Directory {
            if !wanted {
                rustix::fs::unlinkat(staged, entry.name.as_os_str(), AtFlags::empty())?;
            }
            continue;
        }
        let below = sys::dir::open_at(staged, &entry.name)?;
        let there = volume.and_then(|volume| sys::dir::open_at(volume, &entry.name).ok());
        leave_out(
            below.as_fd(),
            there.as_ref().map(AsFd::as_fd),
            &inside,
            chosen,
        )?;
        if !wanted && sys::dir::read_dir(below.as_fd())?.is_empty() {
            rustix::fs::unlinkat(staged, entry.name.as_os_str(), AtFlags::REMOVEDIR)?;
        }
    }
    match volume {
        Some(volume) if !chosen.contains(path) => sys::attributes::copy(volume, staged),
        _ => Ok(()),
    }
}

/// Removes files, and directories that hold nothing; what is gone already is no error.
fn remove(root: BorrowedFd<'_>, paths: &[PathBuf]) -> io::Result<()> {
    for path in paths {
        let path = path.strip_prefix("/").unwrap_or(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let removed = sys::dir::open_deep(root, parent).and_then(|parent| {
            let flags = match sys::dir::stat_at(parent.as_fd(), name)?.kind() {
                FileType::Directory => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            rustix::fs::unlinkat(&parent, name, flags)?;
            sys::durable::sync_fd(parent.as_fd())
        });
        match removed {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn discard(op: &OpId, volumes: &Volumes) -> Result<(), VolumeError> {
    let staging = volumes.paths.staging(op);
    match sys::dir::remove_tree(&staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(VolumeError::io("delete", staging)),
    }
}

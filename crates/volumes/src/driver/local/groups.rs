//! What a btrfs counts of a volume, and how it bounds that.
//!
//! Simple quotas count a byte for the subvolume that wrote it, if it was written after they were switched on. All trees of a
//! volume that has, or had, a limit are in one group, named after the volume's directory: what any of them wrote counts for as
//! long as one of them has it. What came before the quotas, or from trees of other volumes, is in no such count, and a first
//! limit takes a copy of it: [`is_uncounted`].

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sys::btrfs_quota::{self, Group, Mode};
use sys::{btrfs, btrfs_extents};

use super::super::{DriverError, Held};
use crate::open_directory;

/// Bounds what the volume of a tree holds, or takes its bound away; the tree counts from here on.
pub(super) fn limit(tree: &Path, bytes: Option<u64>) -> Result<(), DriverError> {
    let failed = || DriverError::io("limit", tree);
    let root = open_directory(tree).map_err(failed())?;
    // Through the directory around it: a subvolume that is full has no room for the change of its own limit.
    let around = open_directory(tree.parent().unwrap_or(tree)).map_err(failed())?;
    let (root, around) = (root.as_fd(), around.as_fd());
    let mode = match btrfs_quota::mode(around).map_err(failed())? {
        None if bytes.is_none() => return Ok(()),
        None => btrfs_quota::enable(around).map_err(failed())?,
        Some(mode) => mode,
    };
    // It counts when it commits.
    rustix::fs::syncfs(root).map_err(|error| failed()(error.into()))?;
    let counted = || -> io::Result<Counted> {
        let own = Group::of_subvolume(btrfs_quota::subvolume_id(root)?);
        match mode {
            Mode::Groups => Counted::of(around, own),
            Mode::Simple => join(around, own, tree, bytes.is_some()),
        }
    };
    let counted = counted().map_err(failed())?;
    if let Some(wanted) = bytes
        && let Some(used) = counted.beyond(wanted)
    {
        return Err(DriverError::TooFull { used, wanted });
    }
    match counted.group {
        Some(group) => btrfs_quota::limit(around, group, bytes).map_err(failed()),
        None => Ok(()),
    }
}

/// What is counted before a bound is set.
struct Counted {
    /// `None`: there is none to bound.
    group: Option<Group>,
    bytes: u64,
    bound: Option<u64>,
    /// What the tree alone wrote, if it is not the content yet.
    staged: u64,
}

impl Counted {
    fn of(dir: BorrowedFd<'_>, group: Group) -> io::Result<Self> {
        Ok(Self {
            group: Some(group),
            bytes: btrfs_quota::used(dir, group)?.unwrap_or(0),
            bound: btrfs_quota::bound(dir, group)?,
            staged: 0,
        })
    }

    /// What does not fit. What is not lowered may hold a little more than it should: the kernel counts what it needs itself.
    fn beyond(&self, wanted: u64) -> Option<u64> {
        let lowered = self.bound.is_none_or(|bound| bound > wanted);
        if lowered && self.bytes > wanted {
            return Some(self.bytes);
        }
        (self.staged > wanted).then_some(self.staged)
    }
}

/// Counts a tree for its volume, and with the first limit all others of the volume, too.
fn join(around: BorrowedFd<'_>, own: Group, tree: &Path, limited: bool) -> io::Result<Counted> {
    let group = of_tree(tree);
    if !limited && btrfs_quota::used(around, group)?.is_none() {
        return Ok(Counted {
            group: None,
            bytes: 0,
            bound: None,
            staged: 0,
        });
    }
    btrfs_quota::create(around, group)?;
    let first = limited && btrfs_quota::bound(around, group)?.is_none();
    if first {
        for member in of_trees(&trees_in(tree.parent().unwrap_or(tree))?)? {
            btrfs_quota::assign(around, member, group)?;
        }
    }
    btrfs_quota::assign(around, own, group)?;
    let mut counted = Counted::of(around, group)?;
    let content = tree.with_file_name("_data");
    if content != tree {
        counted.staged = btrfs_quota::used(around, own)?.unwrap_or(0);
        if first && content.is_dir() {
            // It gives way to this tree. What snapshots still have of it afterwards was written to all the same.
            let given_way = of_trees(&[content])?
                .into_iter()
                .try_fold(0, |sum, group| {
                    io::Result::Ok(sum + btrfs_quota::used(around, group)?.unwrap_or(0))
                })?;
            counted.bytes = counted.bytes.saturating_sub(given_way);
        }
    }
    Ok(counted)
}

/// Makes a change to a tree that is going to be read-only, past the bound of its volume. A crash in between leaves it uncounted,
/// and the bound as it is.
pub(super) fn unbound(tree: &Path, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let root = open_directory(tree)?;
    let parent = tree.parent().unwrap_or(tree);
    let around = open_directory(parent)?;
    let around = around.as_fd();
    let own = Group::of_subvolume(btrfs_quota::subvolume_id(root.as_fd())?);
    match btrfs_quota::mode(around)? {
        None => change(),
        // Nobody writes to it any more.
        Some(Mode::Groups) => btrfs_quota::limit(around, own, None).and_then(|()| change()),
        Some(Mode::Simple) => {
            // Snapshots are one directory further down.
            let home = match parent.file_name() {
                Some(name) if name == "snapshots" => parent,
                _ => tree,
            };
            let group = of_tree(home);
            btrfs_quota::unassign(around, own, group)?;
            let changed = change();
            btrfs_quota::assign(around, own, group)?;
            changed
        }
    }
}

/// Whether a first limit would leave out something that the content holds.
pub(super) fn is_uncounted(content: &Path) -> Result<bool, DriverError> {
    let looked = || -> io::Result<bool> {
        let root = open_directory(content)?;
        let root = root.as_fd();
        let mode = match btrfs_quota::mode(root)? {
            // They look through everything that is there.
            Some(Mode::Groups) => return Ok(false),
            None if !btrfs_quota::has_simple() => return Ok(false),
            mode => mode,
        };
        let group = of_tree(content);
        if mode.is_some() && btrfs_quota::bound(root, group)?.is_some() {
            return Ok(false);
        }
        rustix::fs::syncfs(root)?;
        let referred = btrfs_extents::referred(root)?;
        if mode.is_none() || referred.older > 0 {
            return Ok(referred.bytes > 0);
        }
        let mut counted = 0;
        for member in of_trees(&trees_in(content.parent().unwrap_or(content))?)? {
            counted += btrfs_quota::used(root, member)?.unwrap_or(0);
        }
        let in_group = btrfs_quota::used(root, group)?.unwrap_or(0);
        Ok(referred.bytes > counted.max(in_group))
    };
    looked().map_err(DriverError::io("measure", content))
}

/// Whether there is something in a tree that was written before simple quotas were switched on.
pub(super) fn predates_quotas(tree: &Path) -> Result<bool, DriverError> {
    let looked = || -> io::Result<bool> {
        let root = open_directory(tree)?;
        let root = root.as_fd();
        Ok(btrfs::is_subvolume(root)?
            && btrfs_quota::mode(root)? == Some(Mode::Simple)
            && btrfs_extents::referred(root)?.older > 0)
    };
    looked().map_err(DriverError::io("measure", tree))
}

/// What the files of a tree take on disk, before there is a copy that counts.
pub(super) fn referred(tree: &Path) -> Result<u64, DriverError> {
    let looked = || Ok(btrfs_extents::referred(open_directory(tree)?.as_fd())?.bytes);
    looked().map_err(DriverError::io("measure", tree))
}

/// Lets the filesystem of a directory count from here on.
pub(super) fn enable(directory: &Path) -> Result<(), DriverError> {
    open_directory(directory)
        .and_then(|directory| btrfs_quota::enable(directory.as_fd()))
        .map(drop)
        .map_err(DriverError::io("switch quotas on for", directory))
}

/// What a volume holds by the count that bounds it.
pub(super) fn held(tree: &Path) -> Result<Option<Held>, DriverError> {
    let looked = || -> io::Result<Option<Held>> {
        let root = open_directory(tree)?;
        let root = root.as_fd();
        let group = match btrfs_quota::mode(root)? {
            None => return Ok(None),
            Some(Mode::Simple) => of_tree(tree),
            Some(Mode::Groups) => Group::of_subvolume(btrfs_quota::subvolume_id(root)?),
        };
        Ok(btrfs_quota::used(root, group)?.map(|bytes| Held {
            bytes,
            inodes: None,
        }))
    };
    looked().map_err(DriverError::io("measure", tree))
}

/// Removes the group of a volume whose trees these are, unless something else that is there counts in it, too.
pub(super) fn release(directory: &Path, volume: &str, trees: &[PathBuf]) -> io::Result<()> {
    let group = named(OsStr::new(volume));
    let around = open_directory(directory)?;
    let around = around.as_fd();
    if !btrfs::is_btrfs(around)? || btrfs_quota::used(around, group)?.is_none() {
        return Ok(());
    }
    let own = of_trees(trees)?;
    for member in btrfs_quota::members(around, group)? {
        if own.contains(&member) {
            btrfs_quota::unassign(around, member, group)?;
        } else if !btrfs_quota::is_there(around, member)? {
            // Removed before, and perhaps not cleaned away yet: then the kernel keeps its group until it is.
            btrfs_quota::unassign(around, member, group)?;
            if let Err(error) = btrfs_quota::remove(around, member) {
                tracing::debug!(?member, %error, "the group of a removed subvolume stays for now");
            }
        }
    }
    btrfs_quota::remove(around, group)
}

/// What is in a volume's directory, contents and snapshots among it.
pub(super) fn trees_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = |directory: &Path| -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut trees = listed(directory)?;
    for inside in trees.clone() {
        if inside.file_name() == Some(OsStr::new("snapshots")) {
            trees.extend(listed(&inside)?);
        }
    }
    Ok(trees)
}

/// The groups of those that are subvolumes.
fn of_trees(trees: &[PathBuf]) -> io::Result<Vec<Group>> {
    let mut groups = Vec::new();
    for tree in trees.iter().filter(|tree| tree.is_dir()) {
        let root = open_directory(tree)?;
        if btrfs::is_subvolume(root.as_fd())? {
            let id = btrfs_quota::subvolume_id(root.as_fd())?;
            groups.push(Group::of_subvolume(id));
        }
    }
    Ok(groups)
}

/// The group in which all trees of a volume count, by the name of the volume's directory.
fn of_tree(tree: &Path) -> Group {
    let name = tree
        .parent()
        .and_then(Path::file_name)
        .unwrap_or(OsStr::new(""));
    named(name)
}

fn named(volume: &OsStr) -> Group {
    // FNV-1a, of which 48 bits are enough to tell the volumes of a filesystem apart.
    let number = volume
        .as_bytes()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        });
    Group::of_groups(number ^ (number >> 48))
}

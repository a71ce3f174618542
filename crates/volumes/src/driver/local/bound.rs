//! What keeps a limit: quotas of the filesystem on which a tree lies, or a filesystem of its own ([`super::image`]).
//!
//! * btrfs, simple quotas: everything that a volume's trees have written is counted in one group, named after the volume;
//!   what only a snapshot still has counts too. Restoring does not make room.
//! * btrfs, groups: what the tree refers to is counted.
//! * ext4 and XFS with project quotas: each tree is a project of its own, whose number lies on its root directory. A state
//!   directory that is part of somebody else's project is left to that: trees in it have filesystems of their own.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sys::btrfs_quota::{self, Group, Mode};
use sys::{btrfs, project_quota};

use super::super::{Bound, DriverError, Held, Limits};
use super::image;
use crate::open_directory;

/// What keeps, or would keep, the limit of a tree in `directory`.
pub(super) fn in_directory(directory: &Path) -> Result<Option<Bound>, DriverError> {
    let looked = || -> io::Result<Option<Bound>> {
        let directory = open_directory(directory)?;
        Ok(quota(directory.as_fd())?.or_else(|| can_loop().then_some(Bound::Image)))
    };
    looked().map_err(DriverError::io("look at", directory))
}

/// The quotas that the filesystem has for trees in `directory`.
fn quota(directory: BorrowedFd<'_>) -> io::Result<Option<Bound>> {
    if btrfs::is_btrfs(directory)? {
        return Ok(Some(match btrfs_quota::mode(directory)? {
            Some(Mode::Groups) => Bound::QuotaGroup,
            // Switched on with the first limit, the simple ones where there are any.
            Some(Mode::Simple) | None => Bound::SimpleQuota,
        }));
    }
    let has_projects =
        project_quota::is_enforced(directory)? && project_quota::of(directory)?.is_none();
    Ok(has_projects.then_some(Bound::ProjectQuota))
}

fn can_loop() -> bool {
    Path::new("/dev/loop-control").exists()
}

/// What keeps, or would keep, the limit of this tree.
pub(super) fn of_tree(tree: &Path) -> Result<Option<Bound>, DriverError> {
    if image::exists(tree)? {
        return Ok(Some(Bound::Image));
    }
    let looked = || -> io::Result<Option<Bound>> {
        let root = open_directory(tree)?;
        let around = open_directory(tree.parent().unwrap_or(tree))?;
        Ok(match quota(around.as_fd())? {
            // A plain directory of an earlier version cannot be limited.
            Some(Bound::SimpleQuota | Bound::QuotaGroup) if !btrfs::is_subvolume(root.as_fd())? => {
                None
            }
            other => other,
        })
    };
    looked().map_err(DriverError::io("look at", tree))
}

/// Limits a tree that exists.
pub(super) fn limit(tree: &Path, limits: Limits) -> Result<(), DriverError> {
    let Some(bound) = of_tree(tree)? else {
        return if limits.is_none() {
            Ok(())
        } else if limits.bytes.is_none() {
            Err(DriverError::NoInodes)
        } else {
            Err(DriverError::NoQuota)
        };
    };
    if bound == Bound::Image {
        return match limits.bytes {
            Some(bytes) => image::resize(tree, bytes),
            None => Err(DriverError::ImageWithoutSize),
        };
    }
    let is_btrfs = matches!(bound, Bound::SimpleQuota | Bound::QuotaGroup);
    if is_btrfs && limits.inodes.is_some() {
        return Err(DriverError::NoInodes);
    }
    if is_btrfs && limits.is_none() {
        let counts = open_directory(tree).and_then(|root| btrfs_quota::mode(root.as_fd()));
        if counts.map_err(DriverError::io("look at", tree))?.is_none() {
            return Ok(());
        }
    }
    if is_btrfs {
        // It counts when it commits.
        open_directory(tree)
            .and_then(|root| Ok(rustix::fs::syncfs(&root)?))
            .map_err(DriverError::io("sync", tree))?;
    }
    if bound == Bound::ProjectQuota && !limits.is_none() {
        // What is there is counted before anything is bounded, and none of it is refused.
        open_directory(tree)
            .and_then(|root| enroll(root.as_fd()))
            .map_err(DriverError::io("count", tree))?;
    }
    // What is not lowered may hold a little more than it should: the kernel counts what it needs itself.
    let (held, bounded) = measured(tree)?;
    if let (Some(held), Some(wanted)) = (held, limits.bytes)
        && held.bytes > wanted
        && bounded.is_none_or(|bounded| bounded > wanted)
    {
        return Err(DriverError::TooFull {
            used: held.bytes,
            wanted,
        });
    }
    let set = || -> io::Result<()> {
        let root = open_directory(tree)?;
        if is_btrfs {
            limit_subvolume(root.as_fd(), tree, limits.bytes)
        } else {
            limit_project(root.as_fd(), limits)
        }
    };
    set().map_err(DriverError::io("limit", tree))
}

fn limit_subvolume(root: BorrowedFd<'_>, tree: &Path, bytes: Option<u64>) -> io::Result<()> {
    let own = Group::of_subvolume(btrfs_quota::subvolume_id(root)?);
    // Through the directory around it: a subvolume that is full has no room for the change of its own limit.
    let around = open_directory(tree.parent().unwrap_or(tree))?;
    let around = around.as_fd();
    match btrfs_quota::enable(around)? {
        Mode::Simple => {
            let group = group_of_volume(tree);
            btrfs_quota::create(around, group)?;
            btrfs_quota::assign(around, own, group)?;
            btrfs_quota::limit(around, group, bytes)
        }
        Mode::Groups => btrfs_quota::limit(around, own, bytes),
    }
}

/// The group in which all trees of a volume count, by the name of the volume's directory.
fn group_of_volume(tree: &Path) -> Group {
    let name = tree
        .parent()
        .and_then(Path::file_name)
        .unwrap_or(OsStr::new(""));
    group_of(name)
}

fn group_of(volume: &OsStr) -> Group {
    // FNV-1a, of which 48 bits are enough to tell the volumes of a filesystem apart.
    let number = volume
        .as_bytes()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        });
    Group::of_groups(number ^ (number >> 48))
}

fn limit_project(root: BorrowedFd<'_>, limits: Limits) -> io::Result<()> {
    let Some(project) = project_quota::of(root)? else {
        return Ok(());
    };
    project_quota::limit(root, project, limits.bytes, limits.inodes)?;
    // Neither the bound nor the number of a file is durable by itself.
    Ok(rustix::fs::syncfs(root)?)
}

/// Makes the tree a project of its own, if it is none.
fn enroll(root: BorrowedFd<'_>) -> io::Result<()> {
    let project = match project_quota::of(root)? {
        Some(project) => project,
        None => free_project(root)?,
    };
    let used = project_quota::used(root, project)?;
    // Of one that has no bound yet a part may have been left out, when a crash came between.
    if used.max_bytes == 0 && used.max_inodes == 0 {
        project_quota::assign(root, project)?;
    }
    Ok(())
}

/// From here on, up to the end of the positive ones: numbers that people do not give.
const OURS: u32 = 0x4000_0000;

fn is_ours(project: u32) -> bool {
    (OURS..2 * OURS).contains(&project)
}

/// A number that no file carries and that has no bound.
fn free_project(root: BorrowedFd<'_>) -> io::Result<u32> {
    loop {
        let drawn = sys::uuid::random()?;
        let drawn = u32::from_le_bytes([drawn[0], drawn[1], drawn[2], drawn[3]]);
        let project = OURS | (drawn % OURS);
        if project_quota::used(root, project)? == project_quota::Use::default() {
            return Ok(project);
        }
    }
}

/// [`release`] of all trees of a volume, and of the group in which they count.
pub(super) fn renounce(directory: &Path, volume: Option<&str>) {
    let listed = |directory: &Path| -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let trees = listed(directory).and_then(|mut trees| {
        for inside in trees.clone() {
            if inside.file_name() == Some(OsStr::new("snapshots")) {
                trees.extend(listed(&inside)?);
            }
        }
        Ok(trees)
    });
    let released = trees.and_then(|trees| {
        trees.iter().try_for_each(|tree| release(tree))?;
        match volume {
            Some(volume) => release_group(directory, group_of(OsStr::new(volume)), &trees),
            None => Ok(()),
        }
    });
    if let Err(error) = released {
        tracing::debug!(directory = %directory.display(), %error, "numbers of projects or groups may stay taken");
    }
}

/// Removes the group in which these trees count, unless something else that is there counts in it, too.
fn release_group(directory: &Path, group: Group, trees: &[PathBuf]) -> io::Result<()> {
    let around = open_directory(directory)?;
    let around = around.as_fd();
    if !btrfs::is_btrfs(around)? || btrfs_quota::used(around, group)?.is_none() {
        return Ok(());
    }
    let mut own = Vec::new();
    for tree in trees.iter().filter(|tree| tree.is_dir()) {
        let root = open_directory(tree)?;
        if btrfs::is_subvolume(root.as_fd())? {
            own.push(Group::of_subvolume(btrfs_quota::subvolume_id(
                root.as_fd(),
            )?));
        }
    }
    for member in btrfs_quota::members(around, group)? {
        if own.contains(&member) {
            btrfs_quota::unassign(around, member, group)?;
        } else if let Err(error) = btrfs_quota::remove(around, member) {
            // The kernel keeps that of a subvolume that is there.
            tracing::debug!(?member, %error, "a group has other members");
        }
    }
    btrfs_quota::remove(around, group)
}

/// Takes the bound of a tree away that is being removed: its number is free again when its last file has gone, which
/// [`free_project`] asks the kernel. A number that somebody gave may be that of other directories, too, and is left alone.
pub(super) fn release(tree: &Path) -> io::Result<()> {
    let root = match open_directory(tree) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        other => other?,
    };
    let around = open_directory(tree.parent().unwrap_or(tree))?;
    match project_quota::of(root.as_fd())? {
        Some(project) if is_ours(project) && project_quota::of(around.as_fd())?.is_none() => {
            project_quota::limit(root.as_fd(), project, None, None)
        }
        _ => Ok(()),
    }
}

/// What a limited tree holds.
pub(super) fn held(tree: &Path) -> Result<Option<Held>, DriverError> {
    Ok(measured(tree)?.0)
}

/// What a limited tree holds, and by quotas may hold.
fn measured(tree: &Path) -> Result<(Option<Held>, Option<u64>), DriverError> {
    let bound = of_tree(tree)?;
    if bound == Some(Bound::Image) {
        return Ok((Some(image::held(tree)?), None));
    }
    let looked = || -> io::Result<(Option<Held>, Option<u64>)> {
        let root = open_directory(tree)?;
        match bound {
            Some(Bound::SimpleQuota | Bound::QuotaGroup) => {
                let group = match btrfs_quota::mode(root.as_fd())? {
                    None => return Ok((None, None)),
                    Some(Mode::Simple) => group_of_volume(tree),
                    Some(Mode::Groups) => {
                        Group::of_subvolume(btrfs_quota::subvolume_id(root.as_fd())?)
                    }
                };
                let bytes = btrfs_quota::used(root.as_fd(), group)?;
                let held = bytes.map(|bytes| Held {
                    bytes,
                    inodes: None,
                });
                Ok((held, btrfs_quota::bound(root.as_fd(), group)?))
            }
            Some(Bound::ProjectQuota) => {
                let Some(project) = project_quota::of(root.as_fd())? else {
                    return Ok((None, None));
                };
                let used = project_quota::used(root.as_fd(), project)?;
                let held = Held {
                    bytes: used.bytes,
                    inodes: Some(used.inodes),
                };
                Ok((Some(held), (used.max_bytes > 0).then_some(used.max_bytes)))
            }
            Some(Bound::Image) | None => Ok((None, None)),
        }
    };
    looked().map_err(DriverError::io("measure", tree))
}

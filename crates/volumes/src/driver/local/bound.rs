//! What keeps a limit: quotas of the filesystem on which a tree lies, or a filesystem of its own ([`super::image`]).
//!
//! * btrfs: groups of subvolumes, [`groups`].
//! * ext4 and XFS with project quotas: each tree is a project of its own, whose number lies on its root directory. A state
//!   directory that is part of somebody else's project is left to that: trees in it have filesystems of their own.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use sys::btrfs;
use sys::btrfs_quota::{self, Mode};
use sys::project_quota::{self, Use};

use super::super::{Bound, DriverError, Held, Limits};
use super::{groups, image};
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
    if matches!(bound, Bound::SimpleQuota | Bound::QuotaGroup) {
        if limits.inodes.is_some() {
            return Err(DriverError::NoInodes);
        }
        return groups::limit(tree, limits.bytes);
    }
    if !limits.is_none() {
        // What is there is counted before anything is bounded, and none of it is refused.
        open_directory(tree)
            .and_then(|root| enroll(root.as_fd()))
            .map_err(DriverError::io("count", tree))?;
    }
    let projected = projected(tree)?;
    if let (Some(used), Some(wanted)) = (projected, limits.bytes)
        && used.bytes > wanted
        && (used.max_bytes == 0 || used.max_bytes > wanted)
    {
        return Err(DriverError::TooFull {
            used: used.bytes,
            wanted,
        });
    }
    open_directory(tree)
        .and_then(|root| limit_project(root.as_fd(), limits))
        .map_err(DriverError::io("limit", tree))
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
        if project_quota::used(root, project)? == Use::default() {
            return Ok(project);
        }
    }
}

/// [`release`] of all trees of a volume, and of the group in which they count.
pub(super) fn renounce(directory: &Path, volume: Option<&str>) {
    let released = groups::trees_in(directory).and_then(|trees| {
        trees.iter().try_for_each(|tree| release(tree))?;
        match volume {
            Some(volume) => groups::release(directory, volume, &trees),
            None => Ok(()),
        }
    });
    if let Err(error) = released {
        tracing::debug!(directory = %directory.display(), %error, "numbers of projects or groups may stay taken");
    }
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
    match of_tree(tree)? {
        Some(Bound::Image) => image::held(tree).map(Some),
        Some(Bound::SimpleQuota | Bound::QuotaGroup) => groups::held(tree),
        Some(Bound::ProjectQuota) => Ok(projected(tree)?.map(|used| Held {
            bytes: used.bytes,
            inodes: Some(used.inodes),
        })),
        None => Ok(None),
    }
}

/// What is counted of a tree that is a project.
fn projected(tree: &Path) -> Result<Option<Use>, DriverError> {
    let looked = || -> io::Result<Option<Use>> {
        let root = open_directory(tree)?;
        let project = project_quota::of(root.as_fd())?;
        project
            .map(|project| project_quota::used(root.as_fd(), project))
            .transpose()
    };
    looked().map_err(DriverError::io("measure", tree))
}

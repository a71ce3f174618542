//! Copies of a volume's content: as a subvolume where there is btrfs, file by file with shared data where files can share
//! it, byte by byte elsewhere.
//!
//! A copy on btrfs is always a subvolume, even if its source is a plain directory of an earlier version: the next copy is
//! made at an instant.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use sys::btrfs;
use sys::catch_up::Began;
use sys::copy_tree::{CopyError, CopyOptions, copy_tree};

use super::super::{Access, Ahead, Bound, Done, DriverError, Limits, Replica, Sharing, Watch};
use super::{bound, groups, image};
use crate::{mount_table, open_directory};

/// Makes an empty directory, on btrfs a subvolume, with exactly `mode`. Its entry is durable after a sync of the parent.
pub(super) fn make_root(path: &Path, mode: u32) -> io::Result<()> {
    let (parent, name) = split(path)?;
    if !btrfs::is_btrfs(parent.as_fd())? {
        return sys::durable::create_dir_unsynced(path, mode);
    }
    btrfs::create_subvolume(parent.as_fd(), name)?;
    let root = open_directory(path)?;
    rustix::fs::fchmod(&root, Mode::from_raw_mode(mode))?;
    sys::durable::sync_fd(root.as_fd())
}

/// What a copy of the content costs.
pub(super) fn sharing(content: &Path) -> Result<Sharing, DriverError> {
    if image::exists(content)? {
        let directory = content.parent().unwrap_or(content);
        return Ok(match sharing_in(directory)? {
            // The file is shared as a whole.
            Sharing::Shared | Sharing::Instant => Sharing::Instant,
            Sharing::Copy => Sharing::Copy,
        });
    }
    let looked = || -> io::Result<Sharing> {
        let root = open_directory(content)?;
        // One that is full to its limit has no room for the trial.
        let around = open_directory(content.parent().unwrap_or(content))?;
        Ok(if btrfs::is_subvolume(root.as_fd())? {
            Sharing::Instant
        } else if sys::reflink::is_possible(around.as_fd())? {
            Sharing::Shared
        } else {
            Sharing::Copy
        })
    };
    looked().map_err(DriverError::io("look at", content))
}

/// What a copy of the tree `from` in a directory of `around` costs, by [`transplant`] or [`replicate_within`].
pub(super) fn sharing_with(
    from: &Path,
    around: &Path,
    limits: Limits,
    moved: bool,
) -> Result<Sharing, DriverError> {
    let has_own = image::exists(from)?;
    if moved && has_own {
        return Ok(if is_shared_as_file(from, around)? {
            Sharing::Instant
        } else {
            Sharing::Copy
        });
    }
    let takes_own = if moved {
        !limits.is_none() && bound::in_directory(around)? == Some(Bound::Image)
    } else {
        takes_own(has_own, around, limits)?
    };
    if has_own != takes_own {
        return Ok(Sharing::Copy);
    }
    if !moved {
        if !has_own && limits.bytes.is_some() && groups::predates_quotas(from)? {
            return Ok(Sharing::Copy);
        }
        return sharing(from);
    }
    let looked = || -> io::Result<bool> {
        // As in [`sharing`]: the tree itself may be full to its limit, or read-only.
        let from = open_directory(from.parent().unwrap_or(from))?;
        let around = open_directory(around)?;
        sys::reflink::is_possible_between(from.as_fd(), around.as_fd())
    };
    Ok(if looked().map_err(DriverError::io("look at", around))? {
        Sharing::Shared
    } else {
        Sharing::Copy
    })
}

/// Whether a copy with these limits has a filesystem of its own, as its source has or not.
fn takes_own(has_own: bool, around: &Path, limits: Limits) -> Result<bool, DriverError> {
    Ok(match limits.bytes {
        None => has_own && !limits.is_none(),
        Some(_) => has_own || bound::in_directory(around)? == Some(Bound::Image),
    })
}

/// Whether a filesystem in a file lies so that a copy in `around` shares it as a whole.
fn is_shared_as_file(from: &Path, around: &Path) -> Result<bool, DriverError> {
    let lies = |path: &Path| open_directory(path).and_then(|dir| sys::dir::stat(dir.as_fd()));
    let same = || Ok(lies(from.parent().unwrap_or(from))?.dev == lies(around)?.dev);
    let same = same().map_err(DriverError::io("look at", around))?;
    Ok(same && sharing_in(around)? != Sharing::Copy)
}

/// What a copy of a content costs that is made in `directory`.
pub(super) fn sharing_in(directory: &Path) -> Result<Sharing, DriverError> {
    let looked = || -> io::Result<Sharing> {
        let directory = open_directory(directory)?;
        Ok(if btrfs::is_btrfs(directory.as_fd())? {
            Sharing::Instant
        } else if sys::reflink::is_possible(directory.as_fd())? {
            Sharing::Shared
        } else {
            Sharing::Copy
        })
    };
    looked().map_err(DriverError::io("look at", directory))
}

pub(super) fn replicate(
    from: &Path,
    to: &Path,
    access: Access,
    watch: &Watch<'_>,
) -> Result<Replica, DriverError> {
    discard(to)?;
    if image::exists(from)? {
        return image::replicate(from, to, watch);
    }
    let source = open_directory(from).map_err(DriverError::io("open", from))?;
    let make = DriverError::io("make", to);
    if btrfs::is_subvolume(source.as_fd()).map_err(DriverError::io("look at", from))? {
        let snapshot = || {
            let (parent, name) = split(to)?;
            let read_only = access == Access::ReadOnly;
            btrfs::snapshot(source.as_fd(), parent.as_fd(), name, read_only)
        };
        return snapshot().map(|()| Replica::Whole).map_err(make);
    }
    make_root(to, 0o700).map_err(make)?;
    copy(from, to, &watched(watch))
}

/// As [`replicate`], to a content with these limits: a filesystem of its own only where they take that.
pub(super) fn replicate_within(
    from: &Path,
    to: &Path,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Replica, DriverError> {
    let has_own = image::exists(from)?;
    let takes_own = takes_own(has_own, to.parent().unwrap_or(to), limits)?;
    if has_own == takes_own {
        // A bound that is kept by who wrote what has to count what comes back.
        if !has_own && limits.bytes.is_some() && groups::predates_quotas(from)? {
            return copy_all(from, to, watch);
        }
        return replicate(from, to, Access::Writable, watch);
    }
    discard(to)?;
    if takes_own {
        image::make(to, limits)?;
        return copy(from, to, &watched(watch));
    }
    make_root(to, 0o700).map_err(DriverError::io("make", to))?;
    // Nobody else wants to see a snapshot.
    let was_seen = mount_table::is_mountpoint(from).map_err(DriverError::io("look at", from))?;
    image::expose(from)?;
    let copied = copy(from, to, &watched(watch));
    if !was_seen {
        image::hide(from)?;
    }
    copied
}

/// As [`replicate_within`], of a content that cannot be limited so as it is. Quotas count from here on what was there before them.
pub(super) fn rebuild(
    from: &Path,
    to: &Path,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Replica, DriverError> {
    let around = to.parent().unwrap_or(to);
    let bound = match bound::of_tree(from)? {
        None => bound::in_directory(around)?,
        known => known,
    };
    if image::exists(from)? || bound != Some(Bound::SimpleQuota) {
        return replicate_within(from, to, limits, watch);
    }
    let used = if is_subvolume(from)? {
        groups::referred(from)?
    } else {
        let size = sys::dir::tree_size(from).map_err(DriverError::io("measure", from))?;
        size.bytes
    };
    if let Some(wanted) = limits.bytes.filter(|wanted| used > *wanted) {
        return Err(DriverError::TooFull { used, wanted });
    }
    groups::enable(around)?;
    copy_all(from, to, watch)
}

fn is_subvolume(tree: &Path) -> Result<bool, DriverError> {
    open_directory(tree)
        .and_then(|root| btrfs::is_subvolume(root.as_fd()))
        .map_err(DriverError::io("look at", tree))
}

/// Copies every byte.
fn copy_all(from: &Path, to: &Path, watch: &Watch<'_>) -> Result<Replica, DriverError> {
    discard(to)?;
    make_root(to, 0o700).map_err(DriverError::io("make", to))?;
    let options = CopyOptions {
        share_always: false,
        share_never: true,
        ..watched(watch)
    };
    copy(from, to, &options)
}

/// As [`replicate`], to another filesystem.
pub(super) fn transplant(
    from: &Path,
    to: &Path,
    limits: Limits,
    watch: &Watch<'_>,
) -> Result<Replica, DriverError> {
    match transplant_ahead(from, to, limits)? {
        Some(_) => copy(from, to, &watched(watch)),
        None => image::replicate(from, to, watch),
    }
}

/// The room for that: everything but what takes from the source. `None` where the source is one file that may be shared.
pub(super) fn transplant_ahead(
    from: &Path,
    to: &Path,
    limits: Limits,
) -> Result<Option<Ahead>, DriverError> {
    discard(to)?;
    let around = to.parent().unwrap_or(to);
    if image::exists(from)? {
        if is_shared_as_file(from, around)? {
            return Ok(None);
        }
        image::make_like(from, to)?;
        return Ok(Some(Ahead(Done::Room)));
    }
    let bound = bound::in_directory(around)?;
    match bound {
        _ if limits.is_none() => make_root(to, 0o700).map_err(DriverError::io("make", to))?,
        None => return Err(DriverError::NoQuota),
        Some(Bound::Image) => image::make(to, limits)?,
        Some(_) => make_root(to, 0o700).map_err(DriverError::io("make", to))?,
    }
    Ok(Some(Ahead(Done::Room)))
}

/// How files are copied.
fn watched<'a>(watch: &'a Watch<'a>) -> CopyOptions<'a> {
    CopyOptions {
        root_attributes: true,
        one_file_system: true,
        share_always: true,
        share_never: false,
        seen: None,
        only_at_rest: false,
        watch: Some(watch),
    }
}

fn copy(from: &Path, to: &Path, options: &CopyOptions<'_>) -> Result<Replica, DriverError> {
    let source = open_directory(from).map_err(DriverError::io("open", from))?;
    let target = open_directory(to).map_err(DriverError::io("open", to))?;
    copy_tree(source.as_fd(), target.as_fd(), options)
        .map(|counts| Replica::Files {
            bytes: counts.bytes,
        })
        .map_err(|source| DriverError::Replicate {
            to: to.to_owned(),
            source,
        })
}

/// Where files share their data one by one it takes as long as there are files, and few of them change meanwhile. On ext4, where
/// their bytes are copied, those are that nobody may write to. A filesystem of the tree's own takes a while to be made, if its
/// file cannot be shared.
pub(super) fn copy_ahead(
    from: &Path,
    to: &Path,
    watch: &Watch<'_>,
) -> Result<Option<Ahead>, DriverError> {
    let only_at_rest = match (image::exists(from)?, sharing(from)?) {
        (false, Sharing::Shared) => false,
        (false, Sharing::Copy) if can_be_at_rest(from)? => true,
        (true, Sharing::Copy) => {
            discard(to)?;
            image::expose(from)?;
            image::make_like(from, to)?;
            if !can_be_at_rest(from)? {
                return Ok(Some(Ahead(Done::Room)));
            }
            true
        }
        _ => return Ok(None),
    };
    if !image::exists(to)? {
        discard(to)?;
        make_root(to, 0o700).map_err(DriverError::io("make", to))?;
    }
    let began = Began::now();
    let options = CopyOptions {
        seen: Some(began.seen()),
        only_at_rest,
        ..watched(watch)
    };
    match copy(from, to, &options) {
        Ok(_) => Ok(Some(Ahead(Done::Copied(Box::new(began))))),
        Err(
            stopped @ DriverError::Replicate {
                source: CopyError::Stopped,
                ..
            },
        ) => Err(stopped),
        // What was moved about under its eyes may have confused it.
        Err(error) => {
            tracing::debug!(tree = %from.display(), error = &error as &dyn std::error::Error, "not copied ahead");
            discard(to)?;
            Ok(None)
        }
    }
}

fn can_be_at_rest(content: &Path) -> Result<bool, DriverError> {
    let looked = || sys::at_rest::can_be_told(open_directory(content)?.as_fd());
    looked().map_err(DriverError::io("look at", content))
}

pub(super) fn catch_up(
    from: &Path,
    to: &Path,
    ahead: &Ahead,
    watch: &Watch<'_>,
) -> Result<Option<Replica>, DriverError> {
    let options = watched(watch);
    let began = match &ahead.0 {
        Done::Copied(began) => began,
        Done::Room => return copy(from, to, &options).map(Some),
    };
    let source = open_directory(from).map_err(DriverError::io("open", from))?;
    let target = open_directory(to).map_err(DriverError::io("open", to))?;
    sys::catch_up::catch_up(source.as_fd(), target.as_fd(), began, &options)
        .map(|counts| {
            counts.map(|counts| Replica::Files {
                bytes: counts.bytes,
            })
        })
        .map_err(|source| DriverError::Replicate {
            to: to.to_owned(),
            source,
        })
}

pub(super) fn settle(tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError> {
    if image::exists(tree)? {
        return image::settle(tree, access, replica);
    }
    let settled = || -> io::Result<()> {
        if replica != Replica::Whole {
            let root = open_directory(tree)?;
            // What is shared is on disk: one sync writes the names and attributes that are left.
            let around = tree.parent().unwrap_or(tree);
            if matches!(sharing_in(around), Ok(Sharing::Shared)) {
                sys::durable::sync_filesystem(root.as_fd())?;
            } else {
                sys::durable::sync_tree_at(root.as_fd())?;
            }
            if access == Access::ReadOnly && btrfs::is_subvolume(root.as_fd())? {
                btrfs::set_read_only(root.as_fd(), true)?;
            }
        }
        sys::durable::sync_parent(tree)
    };
    settled().map_err(DriverError::io("sync", tree))
}

/// As [`replicate`] goes about it.
pub(super) fn is_committed_whole(tree: &Path) -> Result<bool, DriverError> {
    if image::exists(tree)? {
        return Ok(false);
    }
    is_subvolume(tree)
}

/// The kernel makes a copy of a subvolume whole, and commits it before it says so; where files were copied into a new subvolume,
/// that is no copy of another.
pub(super) fn is_evident(tree: &Path) -> Result<bool, DriverError> {
    let looked = || match open_directory(tree) {
        Ok(root) => Ok(btrfs::is_subvolume(root.as_fd())? && btrfs::is_copy(root.as_fd())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    looked().map_err(DriverError::io("look at", tree))
}

pub(super) fn seal(tree: &Path) -> Result<(), DriverError> {
    if image::exists(tree)? {
        return image::seal(tree);
    }
    let sealed = || -> io::Result<()> {
        let root = open_directory(tree)?;
        if !btrfs::is_subvolume(root.as_fd())? {
            return Ok(());
        }
        match btrfs::set_read_only(root.as_fd(), true) {
            // That is a change, too, and a volume that is full to its limit has no room for one.
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                groups::unbound(tree, || btrfs::set_read_only(root.as_fd(), true))
            }
            other => other,
        }
    };
    sealed().map_err(DriverError::io("seal", tree))
}

pub(super) fn discard(tree: &Path) -> Result<(), DriverError> {
    image::discard(tree)?;
    if let Err(error) = bound::release(tree) {
        tracing::debug!(tree = %tree.display(), %error, "the number of a project stays taken");
    }
    match sys::dir::remove_tree(tree).and_then(|()| sys::durable::sync_parent(tree)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(DriverError::io("delete", tree)),
    }
}

fn split(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let invalid = || io::Error::from(rustix::io::Errno::INVAL);
    let parent = path.parent().ok_or_else(invalid)?;
    Ok((
        open_directory(parent)?,
        path.file_name().ok_or_else(invalid)?,
    ))
}

//! Placing a finished mount on a finished place, and setting what it may do.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use sys::mount::Propagation;

/// Puts the detached `tree` onto `target`.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", by_descriptor)
}

/// A detached copy of the mount at `place` (only of what is below it).
pub(crate) fn copy(place: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(place, "", flags)
}

/// Whether the kernel refused because it is older than 5.12.
fn too_old(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOSYS.raw_os_error())
}

/// Makes the mount (attached, open as `mount`) read-only; `recursive` includes the mounts below it.
///
/// Before Linux 5.12 only one mount at a time can be changed: then `NOSYS` for `recursive`.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>, recursive: bool) -> std::io::Result<()> {
    match sys::mount::set_attributes(mount, recursive, sys::mount::READ_ONLY, None) {
        Err(error) if too_old(&error) && !recursive => remount_read_only(mount),
        other => other,
    }
}

fn remount_read_only(mount: BorrowedFd<'_>) -> std::io::Result<()> {
    use rustix::fs::StatVfsMountFlags as Has;
    // A remount states all flags anew, so those of the present mount are repeated.
    let has = rustix::fs::fstatvfs(mount)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (old, new) in [
        (Has::NOSUID, MountFlags::NOSUID),
        (Has::NODEV, MountFlags::NODEV),
        (Has::NOEXEC, MountFlags::NOEXEC),
        (Has::NOATIME, MountFlags::NOATIME),
        (Has::NODIRATIME, MountFlags::NODIRATIME),
        (Has::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(old) {
            flags |= new;
        }
    }
    Ok(rustix::mount::mount_remount(path_of(mount), flags, "")?)
}

/// Sets the propagation of the mount (attached, open as `mount`).
pub(crate) fn set_propagation(
    mount: BorrowedFd<'_>,
    recursive: bool,
    kind: Propagation,
) -> std::io::Result<()> {
    match sys::mount::set_attributes(mount, recursive, 0, Some(kind)) {
        Err(error) if too_old(&error) => {
            let mut flags = match kind {
                Propagation::Private => MountPropagationFlags::PRIVATE,
                Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
                Propagation::Shared => MountPropagationFlags::SHARED,
            };
            if recursive {
                flags |= MountPropagationFlags::REC;
            }
            Ok(rustix::mount::mount_change(path_of(mount), flags)?)
        }
        other => other,
    }
}

/// A path to an open mount, for calls that know only paths. Leads to the very mount, past others on top of it.
pub(crate) fn path_of(mount: impl AsFd) -> String {
    format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd())
}

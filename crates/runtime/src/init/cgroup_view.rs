//! /sys/fs/cgroup inside the container.
//!
//! On v2 the unified hierarchy, seen from the container's cgroup namespace. On v1 a small memory file system with the
//! container's own group of each hierarchy, and a link for each controller that shares a hierarchy with others.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use shim_protocol::StartError;
use shim_protocol::spec::Mount;

use super::attach;
use super::tmpfs::{self, Options};
use crate::cgroup::Cgroup;
use crate::failure::During as _;

fn safe() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Mounts the view on `place`.
pub(crate) fn mount(
    mount: &Mount,
    place: BorrowedFd<'_>,
    cgroup: &Cgroup,
) -> Result<(), StartError> {
    match cgroup {
        Cgroup::V2(_) => unified(mount, place),
        Cgroup::V1(groups) => {
            let what = || format!("cannot mount control groups on {}", mount.target);
            let options = ["nosuid", "nodev", "noexec", "mode=755"].map(str::to_owned);
            let top = tmpfs::create(&mount.target, &Options::parse(&options)?)?;
            attach::attach(top.as_fd(), place).during("mount", what)?;
            for (hierarchy, path) in groups.views() {
                let name = hierarchy.controllers.join(",");
                rustix::fs::mkdirat(&top, &name, Mode::from(0o755)).during("mount", what)?;
                let below = open(top.as_fd(), &name).during("mount", what)?;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let tree = rustix::mount::open_tree(CWD, path, flags).during("mount", what)?;
                attach::attach(tree.as_fd(), below.as_fd()).during("mount", what)?;
                confine(tree.as_fd(), mount.readonly).during("mount", what)?;
                if hierarchy.controllers.len() > 1 {
                    for controller in &hierarchy.controllers {
                        rustix::fs::symlinkat(&name, &top, controller).during("mount", what)?;
                    }
                }
            }
            if mount.readonly {
                attach::make_read_only(top.as_fd(), false).during("mount", what)?;
            }
            Ok(())
        }
        Cgroup::Absent => Ok(()),
    }
}

fn open(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn confine(mount: BorrowedFd<'_>, read_only: bool) -> std::io::Result<()> {
    use sys::mount::{NO_DEV, NO_EXEC, NO_SUID, READ_ONLY, set_attributes};
    let extra = if read_only { READ_ONLY } else { 0 };
    match set_attributes(mount, false, NO_SUID | NO_DEV | NO_EXEC | extra, None) {
        // Before 5.12 the host's own flags, which are the same everywhere, have to do.
        Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
            if read_only {
                attach::make_read_only(mount, false)
            } else {
                Ok(())
            }
        }
        other => other,
    }
}

fn unified(mount: &Mount, place: BorrowedFd<'_>) -> Result<(), StartError> {
    let what = || format!("cannot mount control groups on {}", mount.target);
    let filesystem =
        rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC).during("mount", what)?;
    rustix::mount::fsconfig_set_string(filesystem.as_fd(), "source", "cgroup")
        .during("mount", what)?;
    rustix::mount::fsconfig_create(filesystem.as_fd()).during("mount", what)?;
    let mut flags = safe();
    if mount.readonly {
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let tree = rustix::mount::fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .during("mount", what)?;
    attach::attach(tree.as_fd(), place).during("mount", what)
}

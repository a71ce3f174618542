//! The container's mounts, one after the other as the specification lists them.
//!
//! Bind mounts are read-only from the moment they are there, so that a later mount cannot make its mount point in a
//! volume that is not to be written. Memory file systems become read-only at the end: later mounts and devices need
//! places in them.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use shim_protocol::StartError;
use shim_protocol::spec::{Mount, MountKind, Propagation, ReadonlyRecursion};

use super::sources::{self, Tree};
use super::target::{self, Shape, is_directory};
use super::tmpfs::{self, Options};
use super::{attach, dev, exclude};
use crate::failure::{During as _, failed};

/// `PROC_SUPER_MAGIC`.
const PROC: u64 = 0x9fa0;

/// What may be mounted over inside /proc: files that only tell about the machine.
const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
];

/// Mounts one entry. Gives the mount when it is still to be made read-only.
pub(crate) fn mount(
    root: BorrowedFd<'_>,
    mount: &Mount,
    tree: Option<Tree>,
    cgroups: impl FnOnce(BorrowedFd<'_>) -> Result<(), StartError>,
) -> Result<Option<OwnedFd>, StartError> {
    match (&mount.kind, tree) {
        (
            MountKind::Bind {
                propagation,
                readonly_recursion,
                recursive,
                exclude,
                ..
            },
            Some(tree),
        ) => {
            let recursion = if *recursive {
                *readonly_recursion
            } else {
                ReadonlyRecursion::Never
            };
            place(root, mount, &tree)?;
            sources::set_propagation(tree.mount.as_fd(), *propagation).during("mount", || {
                format!("cannot set the propagation of {}", mount.target)
            })?;
            let hidden = exclude::places(mount, exclude, &tree)?;
            if mount.readonly {
                make_read_only(mount, tree.mount.as_fd(), recursion)?;
            }
            exclude::hide(mount, hidden)?;
            Ok(None)
        }
        (MountKind::Image { .. }, Some(tree)) => {
            place(root, mount, &tree)?;
            sources::set_propagation(tree.mount.as_fd(), Propagation::Rprivate)
                .during("mount", || {
                    format!("cannot set the propagation of {}", mount.target)
                })?;
            make_read_only(mount, tree.mount.as_fd(), ReadonlyRecursion::Never)?;
            Ok(None)
        }
        (MountKind::Bind { .. } | MountKind::Image { .. }, None) => Err(failed(
            "mount",
            format!("no source for the mount on {}", mount.target),
        )),
        (MountKind::Tmpfs { .. }, Some(shared)) => {
            place(root, mount, &shared)?;
            Ok(None)
        }
        (MountKind::Tmpfs { options }, None) => {
            let mut options = Options::parse(options)?;
            let (place, existed) = directory(root, mount)?;
            if existed && !options.has("mode") {
                // As before for whoever looks from inside: permissions are the image's.
                let (_, _, mode) = target::owner_and_mode(&place).during("mount", || {
                    format!("cannot read the mode of {}", mount.target)
                })?;
                options.set("mode", format!("{mode:o}"));
            }
            let tree = tmpfs::create(&mount.target, &options)?;
            attach_to(mount, &tree, &place)?;
            Ok((mount.readonly || options.read_only).then_some(tree))
        }
        (MountKind::Dev, _) => {
            let (place, _) = directory(root, mount)?;
            let tree = dev::create(&mount.target)?;
            attach_to(mount, &tree, &place)?;
            Ok(mount.readonly.then_some(tree))
        }
        (MountKind::Proc, _) => fresh(root, mount, "proc", &[], true),
        (MountKind::Sysfs, _) => fresh(root, mount, "sysfs", &[], true),
        (MountKind::Mqueue, _) => fresh(root, mount, "mqueue", &[], true),
        (MountKind::Devpts, _) => {
            let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
            fresh(root, mount, "devpts", &options, false)
        }
        (MountKind::Cgroup, _) => {
            let (place, _) = directory(root, mount)?;
            cgroups(place.as_fd())?;
            Ok(None)
        }
    }
}

/// Whether a mount shows the user's data rather than the kernel's.
pub(crate) fn holds_files(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Bind { .. } | MountKind::Image { .. })
}

/// Mounts a new instance of a file system of the kernel's.
fn fresh(
    root: BorrowedFd<'_>,
    mount: &Mount,
    kind: &str,
    options: &[(&str, &str)],
    no_devices: bool,
) -> Result<Option<OwnedFd>, StartError> {
    let what = || format!("cannot mount {kind} on {}", mount.target);
    let (place, _) = directory(root, mount)?;
    let filesystem =
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).during("mount", what)?;
    // What lists of mounts show as the device.
    for (key, value) in std::iter::once(&("source", kind)).chain(options) {
        rustix::mount::fsconfig_set_string(filesystem.as_fd(), *key, *value)
            .during("mount", what)?;
    }
    rustix::mount::fsconfig_create(filesystem.as_fd()).during("mount", what)?;
    let mut flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if no_devices {
        flags |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if mount.readonly {
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let tree = rustix::mount::fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .during("mount", what)?;
    attach_to(mount, &tree, &place)?;
    Ok(None)
}

/// The directory for a mount, and whether it was there before.
fn directory(root: BorrowedFd<'_>, mount: &Mount) -> Result<(OwnedFd, bool), StartError> {
    let what = || format!("cannot make the mount point {}", mount.target);
    let (place, existed) = match target::find(root, &mount.target) {
        Ok(place) => (place, true),
        Err(rustix::io::Errno::NOENT) => {
            let place = target::find_or_make(root, &mount.target, Shape::Directory);
            (place.during("mount", what)?, false)
        }
        Err(error) => return Err(error).during("mount", what),
    };
    if existed && !is_directory(&place).during("mount", what)? {
        return Err(over_file(&mount.target));
    }
    Ok((place, existed))
}

const MISMATCH: &str = "not a directory: Are you trying to mount a directory onto a file \
    (or vice-versa)? Check if the specified host path exists and is the expected type";

fn over_file(target: &str) -> StartError {
    let text = format!("cannot mount volume over existing file, file exists {target}: {MISMATCH}");
    failed("mount", text)
}

/// Attaches a directory or file of the host's.
fn place(root: BorrowedFd<'_>, mount: &Mount, tree: &Tree) -> Result<(), StartError> {
    let what = || format!("cannot make the mount point {}", mount.target);
    let shape = if tree.directory {
        Shape::Directory
    } else {
        Shape::File
    };
    let place = target::find_or_make(root, &mount.target, shape).during("mount", what)?;
    let directory = is_directory(&place).during("mount", what)?;
    if tree.directory && !directory {
        return Err(over_file(&mount.target));
    }
    if !tree.directory && directory {
        return Err(failed(
            "mount",
            format!(
                "error mounting a file to rootfs at \"{}\": {MISMATCH}",
                mount.target
            ),
        ));
    }
    let kind = rustix::fs::fstatfs(&place).during("mount", what)?.f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == PROC)
        && !PROC_FILES.contains(&mount.target.as_str())
    {
        return Err(failed(
            "mount",
            format!(
                "\"{}\" cannot be mounted because it is inside /proc",
                mount.target
            ),
        ));
    }
    attach_to(mount, &tree.mount, &place)
}

fn attach_to(mount: &Mount, tree: &OwnedFd, place: &OwnedFd) -> Result<(), StartError> {
    attach::attach(tree.as_fd(), place.as_fd()).during("mount", || {
        format!("error mounting to rootfs at \"{}\"", mount.target)
    })
}

fn make_read_only(
    mount: &Mount,
    tree: BorrowedFd<'_>,
    recursion: ReadonlyRecursion,
) -> Result<(), StartError> {
    let what = || format!("cannot make {} read-only", mount.target);
    let deep = match recursion {
        ReadonlyRecursion::Never => {
            return attach::make_read_only(tree, false).during("mount", what);
        }
        ReadonlyRecursion::IfPossible | ReadonlyRecursion::Forced => {
            attach::make_read_only(tree, true)
        }
    };
    match deep {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
            if recursion == ReadonlyRecursion::Forced {
                return Err(failed(
                    "mount",
                    format!(
                        "{}: recursive read-only mounts need Linux 5.12 or later",
                        what()
                    ),
                ));
            }
            attach::make_read_only(tree, false).during("mount", what)
        }
        other => other.during("mount", what),
    }
}

//! What the mount API has and rustix has not: changing the attributes of a mount.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MOUNT_ATTR_IDMAP`.
const ID_MAP: u64 = 0x0010_0000;

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`.
pub const NO_SUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`.
pub const NO_DEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NO_EXEC: u64 = 0x8;

/// How mounts and unmounts travel between this mount and its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets the attributes `set` (a sum of constants of this module) and, if given, the propagation of the mount whose root
/// is open as `mount`; with `recursive` of every mount below it too, all or none.
///
/// # Errors
/// `ENOSYS` before Linux 5.12.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    propagation: Option<Propagation>,
) -> io::Result<()> {
    change(
        mount,
        recursive,
        &MountAttr {
            attr_set: set,
            attr_clr: 0,
            propagation: propagation.map_or(0, |kind| match kind {
                Propagation::Private => libc::MS_PRIVATE,
                Propagation::Slave => libc::MS_SLAVE,
                Propagation::Shared => libc::MS_SHARED,
            }),
            userns_fd: 0,
        },
    )
}

/// Has owners appear through the mount as the user namespace `users` maps them (see [`crate::user_namespace`]). The mount
/// is one that is attached nowhere yet.
///
/// # Errors
/// `EINVAL` when a filesystem cannot do it, `EPERM` when a mount has a map already, `ENOSYS` before Linux 5.12.
pub fn map_ids(mount: BorrowedFd<'_>, recursive: bool, users: BorrowedFd<'_>) -> io::Result<()> {
    change(
        mount,
        recursive,
        &MountAttr {
            attr_set: ID_MAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(users.as_raw_fd()).expect("open descriptors are not negative"),
        },
    )
}

fn change(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `attr` is a mount_attr of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

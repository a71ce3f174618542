//! Entering and leaving namespaces, for single-threaded processes.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

pub use rustix::thread::ThreadNameSpaceType as Kinds;

/// Joins the namespaces `kinds` of the process behind `pidfd`, all or none.
///
/// With `Kinds::PROCESS_ID` it is the later children of this process that are in the other namespace.
pub fn join(pidfd: BorrowedFd<'_>, kinds: Kinds) -> io::Result<()> {
    Ok(rustix::thread::move_into_thread_name_spaces(pidfd, kinds)?)
}

/// Joins the one namespace that `link` (an open `/proc/<pid>/ns/*`) refers to.
pub fn join_link(link: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(link, None)?)
}

/// A new cgroup namespace, whose root is the cgroup in which this process now is.
pub fn new_cgroup() -> io::Result<()> {
    // SAFETY: CLONE_NEWCGROUP leaves the table of descriptors alone.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }?)
}

/// A new mount namespace, a copy of the present one.
pub fn new_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS leaves the table of descriptors alone.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// Kinds that [`join`] takes beside process ids and users: what makes up the surroundings of a process.
#[must_use]
pub fn surroundings() -> Kinds {
    ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
}

/// Leaves the session keyring of whoever started this process for a new, empty one.
///
/// A kernel without keyrings, or a quota that is used up, is not an error: then there is nothing to leave or nothing
/// better to be had.
pub fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if result >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EDQUOT | libc::EPERM | libc::EACCES) => Ok(()),
        _ => Err(error),
    }
}

/// New network and mount namespaces for the calling process; mounts made from now on stay in them.
pub fn new_host() -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags as Flags, mount_change};
    // SAFETY: neither flag touches the table of descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
    mount_change("/", Flags::DOWNSTREAM | Flags::REC)?;
    crate::netlink::loopback_up_here()
}

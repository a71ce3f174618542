//! Entering and leaving namespaces, for single-threaded processes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// Switches the loopback interface of the present network namespace on.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: socket takes plain numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `socket` is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

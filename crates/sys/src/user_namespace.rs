//! User namespaces that nobody lives in: maps of ids, for mounts that show owners as others.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::process::{self, Child, Fork};

const NEW_USERS: u64 = libc::CLONE_NEWUSER as u64;

/// So many ids in a row: those from `inside` on are, seen from out here, those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// A user namespace with these maps. For processes with one thread, with the host's /proc at hand, whatever their own
/// process ids are.
///
/// # Errors
/// The kernel's: `EINVAL` for ranges that overlap or are empty, `EPERM` without the power to map ids, `ENOSPC` when there
/// are too many such namespaces.
pub fn with_maps(uids: &[IdRange], gids: &[IdRange]) -> io::Result<OwnedFd> {
    let child = match process::fork_with(NEW_USERS, None)? {
        Fork::Child => be_there(),
        Fork::Parent(child) => child,
    };
    let made = describe(&child, uids, gids);
    // The namespace lives on in its descriptor.
    process::pidfd_kill(child.pidfd.as_fd(), libc::SIGKILL)?;
    process::wait(child.pid)?;
    made
}

/// Waits to be killed, by the parent or with it.
fn be_there() -> ! {
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
        loop {
            // SAFETY: pause has no arguments and only waits.
            unsafe { libc::pause() };
        }
    }
    process::exit_now(1)
}

fn describe(child: &Child, uids: &[IdRange], gids: &[IdRange]) -> io::Result<OwnedFd> {
    let number = number_outside(child)?;
    for (file, ranges) in [("uid_map", uids), ("gid_map", gids)] {
        let lines: String = ranges
            .iter()
            .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
            .collect();
        // The kernel takes a map in one write only.
        let map = rustix::fs::open(
            format!("/proc/{number}/{file}"),
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&map, lines.as_bytes())?;
    }
    let path = format!("/proc/{number}/ns/user");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The child's number in the /proc that is mounted here: a fork inside another pid namespace gives the one in there.
fn number_outside(child: &Child) -> io::Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", child.pidfd.as_raw_fd());
    std::fs::read_to_string(path)?
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process is not in /proc"))
}

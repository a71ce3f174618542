//! Making, replacing and recognising processes: clone3 as a fork, execve, start times.
//!
//! A process made here is a copy of its single-threaded caller; [`fork_with`] refuses to run in a threaded process,
//! because a lock held by another thread would stay locked in the copy for ever.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// New mount namespace.
pub const NEW_MOUNTS: u64 = libc::CLONE_NEWNS as u64;
/// New process-id namespace.
pub const NEW_PIDS: u64 = libc::CLONE_NEWPID as u64;
/// New network namespace.
pub const NEW_NETWORK: u64 = libc::CLONE_NEWNET as u64;
/// New System V and POSIX message queue namespace.
pub const NEW_IPC: u64 = libc::CLONE_NEWIPC as u64;
/// New host name namespace.
pub const NEW_UTS: u64 = libc::CLONE_NEWUTS as u64;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child of this process.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// On which side of the fork the caller is.
#[derive(Debug)]
pub enum Fork {
    Parent(Child),
    Child,
}

/// The kernel's `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks this process into `namespaces` (a sum of the `NEW_*` constants) and, on cgroup v2, straight into `cgroup`.
///
/// # Errors
/// The kernel's, or `EBUSY` when this process has more than one thread.
pub fn fork_with(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    if !has_one_thread() {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).expect("open descriptors are not negative");
    }
    // SAFETY: `args` is a valid clone_args of the given size and `pidfd` outlives the call; without CLONE_VM and with a
    // null stack this is a fork, and the only thread of the process is the one that goes on in the copy.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Child {
            pid: i32::try_from(pid).expect("a process id is an int"),
            // SAFETY: the kernel has put a new descriptor, owned by nobody else, into `pidfd`.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
    }
}

/// Whether this is the only thread of the process. Asks the kernel without /proc, which a container need not have.
#[must_use]
pub fn has_one_thread() -> bool {
    // SAFETY: "unsharing" the thread group changes nothing; it is refused when there is more than one thread.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Arguments and environment of a program, ready for the kernel.
#[derive(Debug)]
pub struct Image {
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    /// # Errors
    /// `InvalidInput` when a string has a NUL in it.
    pub fn new(args: &[String], env: &[String]) -> io::Result<Self> {
        let strings = |list: &[String]| -> io::Result<Vec<CString>> {
            list.iter()
                .map(|text| CString::new(text.as_bytes()).map_err(io::Error::from))
                .collect()
        };
        Ok(Self {
            args: strings(args)?,
            env: strings(env)?,
        })
    }

    /// Replaces this process by the program at `path`. Comes back only with the reason why not.
    #[must_use]
    pub fn execute(&self, path: &CStr) -> io::Error {
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter()
                .map(|text| text.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: all three are NUL-terminated, the arrays end with a null pointer, and all live until the call ends.
        unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Ends this process at once: no destructors, no exit handlers (which belong to the process it was copied from).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Start time of a process in clock ticks since boot: with the pid it names a process for ever.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name may hold blanks and parentheses; what follows its last one may not.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    fields
        .and_then(|fields| fields.split(' ').nth(19))
        .and_then(|ticks| ticks.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed stat file"))
}

/// Reaps `pid` (a child), waiting for its end. Gives the exit code, or 128 + signal.
pub fn wait(pid: i32) -> io::Result<i32> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
    })?;
    let (_, status) = status.ok_or(io::ErrorKind::WouldBlock)?;
    Ok(exit_code(status))
}

/// Exit code of an ended process, or 128 + signal.
#[must_use]
pub fn exit_code(status: rustix::process::WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

/// Sends signal number `signal` to process `pid`, or to the process group `-pid`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends signal number `signal` to the process behind `pidfd`.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo asks for the same as kill(2); the other arguments are plain numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets user, group and supplementary groups of this (single-threaded) process, groups first.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `groups`.
    let result = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: setresgid takes plain numbers.
    if unsafe { libc::setresgid(gid, gid, gid) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: setresuid takes plain numbers.
    if unsafe { libc::setresuid(uid, uid, uid) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX)
}

/// Closes the descriptors from `first` to `last`. Only for processes that are about to execute a program, or to loop
/// in code that owns no descriptor in the range.
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: by the function's contract nobody will use or close these descriptors again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_of_this_process_is_stable() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let first = start_time(pid).unwrap();
        assert!(first > 0);
        assert_eq!(first, start_time(pid).unwrap());
        assert_eq!(
            start_time(i32::MAX).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn fork_is_refused_with_threads() {
        // The test harness runs this in a thread of its own.
        let error = fork_with(0, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    }
}

//! Children that share the program but nothing else: a connection server in the manner of inetd.
//!
//! Only for single-threaded processes: a forked copy of a threaded one may find locks held for ever.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::Signal;

/// Forks; the child keeps the standard descriptors and `keep`, takes the default action on signals, dies with its
/// parent, runs `work` and exits with its result (101 after a panic). The parent gets the child's pid at once and has
/// to reap it.
pub fn in_child(keep: &[BorrowedFd<'_>], work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the process has one thread (the module's contract), so the copy's heap and locks are consistent.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid > 0 {
        return Ok(pid);
    }
    let code = catch_unwind(AssertUnwindSafe(|| {
        let ready = crate::fd::close_all_except(keep).is_ok()
            && rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
        crate::signal::reset();
        if ready { work() } else { 101 }
    }))
    .unwrap_or(101);
    crate::process::exit_now(code)
}

/// Makes the process survive the signals by which people and terminals end programs, and wake from waiting when a
/// child ends. The handlers do nothing: unlike ignored signals they are back at the default after an exec.
pub fn outlive_signals() -> io::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
    ] {
        // SAFETY: an all-zero sigaction is a valid value (empty mask, no flags, default handler).
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler is an empty function, safe at any moment; both pointers are valid for the call.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

//! Signal dispositions and masks of a single-threaded process that is about to become something else.

use std::io;

/// Gives every signal its default action and unblocks all of them: ignored signals and masks survive execve.
pub fn reset() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: SIG_DFL is valid for every signal; numbers that the C library keeps for itself are refused by it.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all zeroes is a valid (empty) set of signals.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid set to write to.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: `none` is initialised; no old set is asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// Every signal, blocked for the life of this value's process: they are taken one by one by [`Blocked::next`].
pub struct Blocked {
    all: libc::sigset_t,
}

impl std::fmt::Debug for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocked").finish_non_exhaustive()
    }
}

impl Blocked {
    /// Blocks all signals that can be blocked.
    #[must_use]
    pub fn all() -> Self {
        // SAFETY: all zeroes is a valid (empty) set of signals.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `all` is a valid set to write to.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: `all` is initialised; no old set is asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
        Self { all }
    }

    /// Waits for the next signal and gives its number.
    pub fn next(&self) -> io::Result<i32> {
        loop {
            // SAFETY: the set is initialised; no siginfo is asked for.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.all, std::ptr::null_mut()) };
            if signal > 0 {
                return Ok(signal);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

//! The tiny init of containers that ask for one: pid 1 that starts the program, forwards signals, reaps, and ends with
//! the program's exit code.
//!
//! It is our own code that goes on running in the container, because the program file of it cannot be reached from
//! there. It owns no descriptor, does not hold the streams open, and cannot be looked into by the container's processes.

use rustix::process::{DumpableBehavior, Pid, WaitOptions};
use shim_protocol::StartError;
use sys::process::Fork;
use sys::signal::Blocked;

use super::confine;
use crate::failure::During as _;
use crate::plan::ProcessPlan;

/// Comes back in a new process, which is to become the program; this one stays as init until that one ends.
pub(crate) fn stay_behind(plan: &ProcessPlan<'_>, terminal: bool) -> Result<(), StartError> {
    let what = || "cannot start the container's init".to_owned();
    let signals = Blocked::all();
    match sys::process::fork_with(0, None).during("init", what)? {
        Fork::Child => {
            // Its own process group, in the foreground, so that Ctrl-C and job control are about the program.
            rustix::process::setpgid(None, None).during("init", what)?;
            if terminal {
                let pid = rustix::process::getpid();
                // The stop signal of a background process is blocked by the mask above.
                rustix::termios::tcsetpgrp(rustix::stdio::stdin(), pid).during("init", what)?;
            }
            sys::signal::reset();
            Ok(())
        }
        Fork::Parent(child) => {
            if confine::seal(plan).is_err() {
                sys::process::exit_now(255);
            }
            run(child.pid, &signals)
        }
    }
}

fn run(program: i32, signals: &Blocked) -> ! {
    // Best effort both: an init that can be looked into or holds a stream open is worse, not wrong.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    sys::process::close_from(0).ok();
    rustix::thread::set_name(c"init").ok();
    loop {
        // Reap first: the program may have ended before the first wait.
        if let Some(code) = reap(program) {
            sys::process::exit_now(code);
        }
        match signals.next() {
            Ok(signal) if signal == rustix::process::Signal::CHILD.as_raw() => {}
            // A signal for a program that has just ended has nobody to reach.
            Ok(signal) => sys::process::kill(program, signal).unwrap_or_default(),
            Err(_) => sys::process::exit_now(255),
        }
    }
}

/// Reaps all that ended. Gives the program's exit code when it is among them.
fn reap(program: i32) -> Option<i32> {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Some(pid) == Pid::from_raw(program) && (status.exited() || status.signaled()) {
            return Some(sys::process::exit_code(status));
        }
    }
    None
}

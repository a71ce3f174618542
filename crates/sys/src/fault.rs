//! Failures on demand, for the tests of everything that must survive one; switched off it costs one relaxed load.
//!
//! Two kinds of point exist in the product:
//! * every call of [`crate::durable`] counts itself, and [`fail_nth`] makes the n-th one fail;
//! * the steps of journaled operations name themselves, and [`at_step`] fails or kills the process there.
//!
//! What a test arms holds for its own thread only, so tests run side by side. [`kill_process_at`] holds for the whole
//! process and is for black-box tests, which start a program that is to die at a named step.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Number of armed faults in the process; 0 is the normal state.
static ARMED: AtomicU32 = AtomicU32::new(0);
static PROCESS_STEP: OnceLock<String> = OnceLock::new();

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
}

/// What happens at a named step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL to this process: nothing is flushed, nothing unwinds.
    Kill,
    /// The step fails with this errno.
    Fail(i32),
}

#[derive(Debug)]
struct Plan {
    trigger: Trigger,
    seen: u64,
    fired: bool,
}

#[derive(Debug)]
enum Trigger {
    Nth(u64, i32),
    Step(String, Action),
}

/// An armed fault; disarmed when dropped. It belongs to the thread that made it.
#[derive(Debug)]
#[must_use = "the fault is disarmed when this value is dropped"]
pub struct Armed(PhantomData<*const ()>);

impl Armed {
    fn new(trigger: Trigger) -> Self {
        PLAN.with_borrow_mut(|plan| {
            assert!(plan.is_none(), "one fault a thread");
            *plan = Some(Plan {
                trigger,
                seen: 0,
                fired: false,
            });
        });
        ARMED.fetch_add(1, Ordering::Relaxed);
        Self(PhantomData)
    }

    /// Whether the fault has happened.
    pub fn fired(&self) -> bool {
        PLAN.with_borrow(|plan| plan.as_ref().is_some_and(|plan| plan.fired))
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        PLAN.with_borrow_mut(|plan| *plan = None);
        ARMED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The `n`-th (from 1) durable call that this thread makes from now on fails with `errno`, once.
pub fn fail_nth(n: u64, errno: i32) -> Armed {
    Armed::new(Trigger::Nth(n, errno))
}

/// This thread fails or dies when it reaches the step `name`, each time.
pub fn at_step(name: &str, action: Action) -> Armed {
    Armed::new(Trigger::Step(name.to_owned(), action))
}

/// The process dies when any of its threads reaches the step `name`. Only the first call counts.
pub fn kill_process_at(name: &str) {
    if PROCESS_STEP.set(name.to_owned()).is_ok() {
        ARMED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A step that cannot fail, only be the last thing the process did.
pub fn step(name: &str) {
    if ARMED.load(Ordering::Relaxed) != 0 {
        // A planned failure has no meaning at a point without a result.
        drop(armed_step(name));
    }
}

/// A step of a journaled operation.
///
/// # Errors
/// Only what a test has armed for this step.
pub fn try_step(name: &str) -> io::Result<()> {
    if ARMED.load(Ordering::Relaxed) == 0 {
        Ok(())
    } else {
        armed_step(name)
    }
}

/// Counts one durable call.
pub(crate) fn durable_call() -> io::Result<()> {
    if ARMED.load(Ordering::Relaxed) == 0 {
        Ok(())
    } else {
        armed_call()
    }
}

#[cold]
fn armed_step(name: &str) -> io::Result<()> {
    if PROCESS_STEP.get().is_some_and(|step| step == name) {
        die();
    }
    let action = PLAN.with_borrow_mut(|plan| match plan {
        Some(Plan {
            trigger: Trigger::Step(step, action),
            fired,
            ..
        }) if step == name => {
            *fired = true;
            Some(*action)
        }
        _ => None,
    });
    match action {
        None => Ok(()),
        Some(Action::Fail(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Action::Kill) => die(),
    }
}

#[cold]
fn armed_call() -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        let Some(Plan {
            trigger: Trigger::Nth(n, errno),
            seen,
            fired,
        }) = plan
        else {
            return Ok(());
        };
        *seen += 1;
        if *seen != *n {
            return Ok(());
        }
        *fired = true;
        Err(io::Error::from_raw_os_error(*errno))
    })
}

fn die() -> ! {
    if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .is_err()
    {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_fails_once_and_only_here() {
        let armed = fail_nth(2, 28);
        durable_call().expect("the first call is not meant");
        assert!(!armed.fired());
        assert_eq!(
            durable_call().expect_err("the second is").raw_os_error(),
            Some(28)
        );
        assert!(armed.fired());
        durable_call().expect("only once");
        std::thread::spawn(|| durable_call().expect("not on another thread"))
            .join()
            .expect("no panic");
        drop(armed);
        durable_call().expect("disarmed");
    }

    #[test]
    fn steps_fail_by_name() {
        let armed = at_step("volume-create:link", Action::Fail(5));
        try_step("volume-create:build").expect("another step");
        assert_eq!(
            try_step("volume-create:link")
                .expect_err("this one")
                .raw_os_error(),
            Some(5)
        );
        drop(armed);
        try_step("volume-create:link").expect("disarmed");
    }
}

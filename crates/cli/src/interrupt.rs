//! ^C in the middle of something long: what is half-made here goes, the engine notices that nobody waits any more, and the
//! exit code says that it was a person who stopped it.
//!
//! The engine gives up what a client asked for when its connection ends, which is when this process does.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Outcome;
use crate::terminal;

/// Files that are worth nothing before they are complete.
static HALF_MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What to say of what is left behind on purpose.
static LEFT: Mutex<Option<String>> = Mutex::new(None);

/// A command that is stopped from now on says this.
pub(crate) fn leaves(what: String) {
    *LEFT.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
}

/// A file that is removed if the command is stopped while this lives.
#[derive(Debug)]
pub(crate) struct HalfMade(PathBuf);

impl HalfMade {
    pub(crate) fn new(path: &Path) -> Self {
        let mut all = HALF_MADE.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        let mut all = HALF_MADE.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|path| *path != self.0);
    }
}

/// From now on ^C and a plain kill end this process cleanly, with 128 and the signal's number as exit code.
pub(crate) fn ends_cleanly() -> Outcome<()> {
    static BEGUN: Once = Once::new();
    let mut outcome = Ok(());
    BEGUN.call_once(|| outcome = begin());
    outcome
}

fn begin() -> Outcome<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop(signal);
        }
    });
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "files of the user's; whoever waits for the engine's answer is not woken otherwise"
)]
fn stop(signal: i32) -> ! {
    terminal::restore();
    // Never given back: what is removed shall not be published by the thread that writes it.
    let half_made = HALF_MADE.lock().unwrap_or_else(PoisonError::into_inner);
    for path in half_made.iter() {
        // It may not have been made yet.
        drop(std::fs::remove_file(path));
    }
    match &*LEFT.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(left) => eprintln!("\nstopped; {left}"),
        None => eprintln!("\nstopped"),
    }
    std::process::exit(128 + signal)
}

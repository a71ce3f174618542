//! Waiting for a condition.

use std::time::{Duration, Instant};

/// Long enough for a slow machine; a test that gets here has failed.
const BOUND: Duration = Duration::from_secs(60);

/// Asks `look` until it gives something.
///
/// # Panics
/// After a minute without, naming `what`.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or_late(look).unwrap_or_else(|| panic!("waited in vain until {what}"))
}

/// As [`until`], but gives `None` when the time is over, for callers that can say what is wrong.
pub fn until_or_late<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > BOUND {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

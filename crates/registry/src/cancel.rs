//! One switch that ends the transfers of one operation.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the transfers that stand and fall together.
#[derive(Debug, Default)]
pub struct Cancel {
    given_up: Mutex<bool>,
    changed: Condvar,
}

impl Cancel {
    /// Ends them; those that wait notice at once.
    pub fn give_up(&self) {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    #[must_use]
    pub fn is_given_up(&self) -> bool {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before another attempt; whether it was given up meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let (given_up, _) = self
            .changed
            .wait_timeout_while(given_up, time, |given_up| !*given_up)
            .unwrap_or_else(PoisonError::into_inner);
        *given_up
    }
}

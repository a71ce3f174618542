//! A bound for how much memory is taken at once, over all threads: whoever takes waits until others have given back.

use std::sync::{Condvar, Mutex, PoisonError};

use super::chunk::MOST;

/// Bytes that may be on their way.
pub(super) struct Budget {
    left: Mutex<usize>,
    returned: Condvar,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        assert!(bytes >= MOST, "the largest chunk must pass");
        Self {
            left: Mutex::new(bytes),
            returned: Condvar::new(),
        }
    }

    pub(super) fn take(&self, bytes: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left < bytes {
            left = self
                .returned
                .wait(left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *left -= bytes;
    }

    pub(super) fn give(&self, bytes: usize) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.returned.notify_all();
    }
}

//! How much is done at the same time: not more than there are processors.

use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Gate);

impl Default for Gate {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            free: Mutex::new(processors.max(2)),
            changed: Condvar::new(),
        }
    }
}

impl Gate {
    pub(super) fn enter(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .changed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

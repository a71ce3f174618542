//! How far a transfer has come, from the crate that does it to whoever called; and the other way, that it shall end.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cancel::Cancel;
use crate::progress::Progress;

/// Bytes between two tellings.
const STRIDE: u64 = 4 << 20;

/// One transfer.
#[derive(Debug)]
pub(super) struct Watching<'a> {
    /// What it is about, for people: the name of a volume or of a repository.
    id: &'a str,
    action: &'a str,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    total: AtomicU64,
    done: AtomicU64,
    told: AtomicU64,
}

impl<'a> Watching<'a> {
    pub(super) fn new(
        id: &'a str,
        action: &'a str,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            id,
            action,
            progress,
            cancel,
            total: AtomicU64::default(),
            done: AtomicU64::default(),
            told: AtomicU64::default(),
        }
    }

    fn tell(&self, done: u64) {
        let total = self.total.load(Ordering::Relaxed);
        self.progress.step(self.id, self.action, done, total);
    }
}

impl backup::Watch for Watching<'_> {
    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
        self.tell(self.done.load(Ordering::Relaxed));
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let told = self.told.load(Ordering::Relaxed);
        // Of several threads that come this far at once, one tells.
        if done - told.min(done) >= STRIDE
            && self
                .told
                .compare_exchange(told, done, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.tell(done);
        }
    }

    fn stop(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

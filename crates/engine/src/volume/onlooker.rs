//! Whoever waits for a volume to be copied or compared: sees how far that is, and ends it by leaving.

use std::sync::atomic::{AtomicU64, Ordering};

use volumes::Observer;

use crate::cancel::Cancel;
use crate::progress::Progress;

/// One call's.
pub(super) struct Onlooker<'a> {
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// Bytes of what was copied, which is then compared; 0 before that is known.
    settled: AtomicU64,
}

impl<'a> Onlooker<'a> {
    pub(super) fn new(progress: &'a dyn Progress, cancel: &'a Cancel) -> Self {
        Self {
            progress,
            cancel,
            settled: AtomicU64::new(0),
        }
    }
}

impl Observer for Onlooker<'_> {
    fn copied(&self, volume: &str, bytes: u64) {
        self.progress.step(volume, "Copying", bytes, 0);
    }

    fn settles(&self, volume: &str, bytes: u64) {
        self.settled.store(bytes, Ordering::Relaxed);
        self.progress.step(volume, "Copying", bytes, bytes);
        self.progress.status(volume, "Syncing");
    }

    fn compared(&self, volume: &str, bytes: u64) {
        let total = match self.settled.load(Ordering::Relaxed) {
            0 => 0,
            // Holes are compared, and take nothing.
            settled => settled.max(bytes),
        };
        self.progress.step(volume, "Comparing", bytes, total);
    }

    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

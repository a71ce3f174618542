//! Who looks on while volumes are copied, and may stop that.
//!
//! A copy that is stopped is undone: it was never there. Nobody is asked any more once it is complete and durable.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use sys::copy_tree::Copied;

use crate::driver::Replica;

/// Is told how far the copies of a call are. Called from several threads, every few MiB and every hundred files.
pub trait Observer: Sync {
    /// `bytes` of what the files of `volume` take are in its copy. Fewer than before: it was begun anew.
    fn copied(&self, volume: &str, bytes: u64);

    /// All of them are, and they are brought to the disk now.
    fn settles(&self, volume: &str, bytes: u64);

    /// `bytes` of the files of `volume` were held against others that may have to be in their place. Fewer than before: it was
    /// begun anew.
    fn compared(&self, _volume: &str, _bytes: u64) {}

    /// Whether nobody wants the copies any more.
    fn is_stopped(&self) -> bool;
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn copied(&self, _volume: &str, _bytes: u64) {}

    fn settles(&self, _volume: &str, _bytes: u64) {}

    fn is_stopped(&self) -> bool {
        false
    }
}

/// The copy of one volume, under the eyes of somebody.
pub(crate) struct Observed<'a> {
    volume: &'a str,
    observer: &'a dyn Observer,
    bytes: AtomicU64,
}

impl<'a> Observed<'a> {
    pub(crate) fn new(volume: &'a str, observer: &'a dyn Observer) -> Self {
        Self {
            volume,
            observer,
            bytes: AtomicU64::new(0),
        }
    }

    /// What was copied before is worth nothing.
    pub(crate) fn begin(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// What a driver tells.
    pub(crate) fn advance(&self, more: Copied) -> ControlFlow<()> {
        if self.observer.is_stopped() {
            return ControlFlow::Break(());
        }
        if more.bytes > 0 {
            let bytes = self.bytes.fetch_add(more.bytes, Ordering::Relaxed) + more.bytes;
            self.observer.copied(self.volume, bytes);
        }
        ControlFlow::Continue(())
    }

    /// What [`compare_trees`](crate::snapshot::diff::compare_trees) tells.
    pub(crate) fn compared(&self, bytes: u64) -> ControlFlow<()> {
        if self.observer.is_stopped() {
            return ControlFlow::Break(());
        }
        if bytes > 0 {
            let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            self.observer.compared(self.volume, bytes);
        }
        ControlFlow::Continue(())
    }

    /// The copy is complete, and durable once its driver has settled it.
    pub(crate) fn settles(&self, replica: Replica) {
        if let Replica::Files { .. } = replica {
            let bytes = self.bytes.load(Ordering::Relaxed);
            self.observer.settles(self.volume, bytes);
        }
    }
}

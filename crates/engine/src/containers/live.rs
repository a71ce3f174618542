//! What the engine remembers of a container between calls: its lock, who waits for it, who attached before its start.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shim_protocol::HealthRecord;
use shim_protocol::messages::AttachSpec;

use super::wait::Waiter;

/// In-memory side of one container.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Held while a verb changes the container; never while waiting for it to end.
    pub(crate) verb: Mutex<()>,
    /// Held from the record of an end until network and volumes are given back: the next start, and a removal, wait.
    pub(crate) teardown: Mutex<()>,
    /// Connections made by `attach` before the start; handed to the shim with it.
    pub(crate) pending: Mutex<Vec<(AttachSpec, OwnedFd)>>,
    pub(crate) waiters: Mutex<Vec<Waiter>>,
    pub(crate) last_exit: Mutex<Option<i32>>,
    pub(crate) health: Mutex<Option<HealthRecord>>,
}

/// In-memory sides of several containers, each of them once and in the order of their ids: whoever takes several locks of them does
/// so in the same order.
#[derive(Debug)]
pub(crate) struct Lives(Vec<Arc<Live>>);

impl Lives {
    pub(super) fn new(in_order: impl Iterator<Item = Arc<Live>>) -> Self {
        Self(in_order.collect())
    }

    /// Nobody of them starts or stops as long as this is held.
    pub(crate) fn hold(&self) -> Vec<MutexGuard<'_, ()>> {
        let verbs = self.0.iter().map(|live| live.verb.lock());
        verbs
            .map(|verb| verb.unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}

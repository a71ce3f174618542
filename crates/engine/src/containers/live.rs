//! What the engine remembers of a container between calls: its lock, who waits for it, who attached before its start.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

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

//! Volumes turned back: snapshots, restores and clones, with the containers that use the volumes in mind.
//!
//! [`volumes::snapshot`] knows how a copy is made and kept; here is what needs containers:
//!
//! * [`quiet`] - what is done to writers so that the bytes fit together;
//! * [`create`], [`restore`], [`clone`] - the verbs;
//! * [`course`] - how far they are, and that they shall end;
//! * [`clock`] - schedules and expiry, in a thread of their own;
//! * [`hooks`] - ready-made commands for well-known servers.

use std::sync::Arc;

use store::Store;
use volumes::Volumes;

use crate::clock::Clock;
use crate::containers::Containers;
use crate::events::Events;

mod clock;
mod clone;
mod course;
mod create;
mod error;
mod hooks;
mod quiet;
mod restore;

pub use clock::KeptSchedule;
pub use clone::Cloned;
pub use course::Stopped;
pub use create::{Around, Made, SnapshotRequest};
pub use error::TurnBackError;
pub use restore::TurnedBack;
pub use volumes::snapshot::{Policy, parse_reference};
pub use volumes::{CloneVolume, RestoreFrom, Snapshot, SnapshotError};

/// What failed after snapshots were made, for those who only read them.
pub(crate) fn after(failed: &str) -> String {
    format!("the snapshot was made, but then: {failed}")
}

/// The verbs, and the thread that keeps schedules.
#[derive(Debug)]
pub struct Snapshots {
    pub(crate) containers: Arc<Containers>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) store: Arc<Store>,
    pub(crate) events: Events,
    clock: Clock,
}

impl Snapshots {
    /// Makes good what an earlier engine owed to containers, and starts to keep schedules; a sentence for each repair.
    ///
    /// # Errors
    /// When a record cannot be read, or there is no thread.
    pub(crate) fn open(
        containers: &Arc<Containers>,
    ) -> Result<(Arc<Self>, Vec<String>), TurnBackError> {
        let sentences = quiet::recover(containers)?;
        let snapshots = Arc::new(Self {
            containers: Arc::clone(containers),
            volumes: Arc::clone(&containers.volumes),
            store: Arc::clone(&containers.store),
            events: containers.events.clone(),
            clock: Clock::default(),
        });
        clock::start(&snapshots)?;
        Ok((snapshots, sentences))
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.clock.stop();
    }
}

//! What a start does with snapshots that the last engine left unfinished.

use store::journal::{self, Recovered};
use store::{SnapshotRow, SnapshotState};

use super::SnapshotError;
use super::clone::{self, Clone};
use super::create::{self, Create};
use super::receive::{self, Receive};
use super::remove::Remove;
use super::restore::{self, Restore};
use crate::{Unobserved, VolumeError, Volumes};

/// What became of one kind of operation.
pub(crate) type Outcomes = (&'static str, Vec<Recovered<SnapshotError>>);

impl Volumes {
    /// Undoes or completes open operations, by kind, and forgets the snapshots of volumes that are gone for good.
    pub(crate) fn recover_snapshots(&self) -> Result<Vec<Outcomes>, VolumeError> {
        let store = &self.store;
        let context = create::Context {
            volumes: self,
            quiet: None,
            observer: &Unobserved,
        };
        let mut outcomes = vec![("snapshot of", journal::recover::<Create>(store, &context)?)];
        outcomes.push((
            "removal of a snapshot of",
            journal::recover::<Remove>(store, self)?,
        ));
        let context = receive::Context::for_recovery(self);
        outcomes.push(("restore of", journal::recover::<Receive>(store, &context)?));
        let context = clone::Context {
            volumes: self,
            quiet: None,
            observer: &Unobserved,
        };
        outcomes.push(("cloning of", journal::recover::<Clone>(store, &context)?));
        let context = restore::Context {
            volumes: self,
            observer: &Unobserved,
        };
        outcomes.push(("restore of", journal::recover::<Restore>(store, &context)?));
        self.forget_bereft()?;
        Ok(outcomes)
    }

    /// Rows whose volume has neither a record nor a directory any more tell of nothing.
    fn forget_bereft(&self) -> Result<(), VolumeError> {
        let rows = self.store.read(|tx| tx.snapshots_in_any_state())?;
        for row in rows {
            if self.is_bereft(&row)? {
                self.store.write(|tx| tx.forget_snapshots_of(&row.volume))?;
            }
        }
        Ok(())
    }

    fn is_bereft(&self, row: &SnapshotRow) -> Result<bool, VolumeError> {
        let directory = self.paths.volume(&row.volume);
        Ok(row.state == SnapshotState::Ready
            && self.store.read(|tx| tx.volume(&row.volume))?.is_none()
            && !directory
                .try_exists()
                .map_err(VolumeError::io("look at", directory))?
            && self
                .store
                .read(|tx| tx.snapshot_holders(&row.id))?
                .is_empty())
    }
}

/// Every point at which an operation of snapshots can be cut short.
pub(crate) fn points() -> Vec<String> {
    [
        journal::points::<Create>(),
        journal::points::<Remove>(),
        journal::points::<Clone>(),
        journal::points::<Receive>(),
        journal::points::<Restore>(),
    ]
    .concat()
}

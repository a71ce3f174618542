//! `remove`: deletes a snapshot that nobody holds.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: no lease exists, row `removing`; the name is free
//! 2. `delete`: the tree goes; with its record the row goes
//!
//! From 1 on a crash is completed, never undone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, SnapshotId, SnapshotState, VolumeId, WriteTx};

use super::SnapshotError;
use crate::{Volumes, held};

impl Volumes {
    /// Deletes the snapshot `name` of `volume`.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::InUse`], those of the volume and of the disk.
    pub fn remove_snapshot(&self, volume: &str, name: &str) -> Result<(), SnapshotError> {
        self.remove_snapshot_as(volume, name, "snapshot_rm")
    }

    /// As [`Volumes::remove_snapshot`], for one whose time is over.
    ///
    /// # Errors
    /// The same.
    pub fn expire_snapshot(&self, volume: &str, name: &str) -> Result<(), SnapshotError> {
        self.remove_snapshot_as(volume, name, "snapshot_expired")
    }

    fn remove_snapshot_as(
        &self,
        volume: &str,
        name: &str,
        action: &'static str,
    ) -> Result<(), SnapshotError> {
        let lock = self.name_lock(volume);
        let _held = held(&lock);
        let volume = self.row(volume)?;
        let row = self.snapshot_row(&volume, name)?;
        let remove = Remove {
            told: super::is_told(&row.reason).then_some(action),
            id: row.id,
            name: row.name,
            volume: volume.id,
            volume_name: volume.name,
            driver: volume.driver,
        };
        journal::execute(&self.store, &remove, self)?;
        self.describe(&remove.volume);
        Ok(())
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Remove {
    id: SnapshotId,
    name: String,
    volume: VolumeId,
    volume_name: String,
    driver: String,
    /// What the history calls it, which is written with the beginning.
    #[serde(skip)]
    told: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Delete,
}

impl Operation for Remove {
    const KIND: &'static str = "snapshot-remove";
    const STEPS: &'static [(&'static str, Step)] = &[("delete", Step::Delete)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Volumes;
    type Error = SnapshotError;

    fn object(&self) -> &str {
        &self.volume_name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        let holders = tx.snapshot_holders(&self.id)?;
        if !holders.is_empty() {
            return Err(SnapshotError::InUse {
                volume: self.volume_name.clone(),
                name: self.name.clone(),
                holders,
            });
        }
        if let Some(action) = self.told {
            let now = Timestamp::now().to_string();
            tx.insert_volume_event(&self.volume, &now, action, &self.name)?;
        }
        Ok(tx.set_snapshot_state(&self.id, SnapshotState::Removing)?)
    }

    fn run(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), SnapshotError> {
        let tree = volumes.paths.snapshot(&self.volume, &self.id);
        Ok(volumes
            .tree_driver(&self.volume_name, &self.driver)?
            .discard(&tree)?)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        Ok(tx.delete_snapshot(&self.id)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, _volumes: &Volumes) -> Result<(), SnapshotError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

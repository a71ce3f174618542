//! Leases of snapshots: who reads one. It keeps the snapshot and its volume.

use std::path::PathBuf;

use store::{SnapshotId, SnapshotState, VolumeId, VolumeState};

use super::SnapshotError;
use crate::{VolumeError, Volumes};

/// A snapshot that somebody may mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedSnapshot {
    pub id: SnapshotId,
    pub volume: VolumeId,
    /// The driver of its volume.
    pub driver: String,
    pub path: PathBuf,
}

impl Volumes {
    /// Notes that `holder` reads the snapshot at `destination`. Taken twice it is one lease.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`VolumeError::NotFound`] inside [`SnapshotError::Volume`].
    pub fn lease_snapshot(
        &self,
        volume: &str,
        name: &str,
        holder: &str,
        destination: &str,
    ) -> Result<LeasedSnapshot, SnapshotError> {
        self.store.write(|tx| {
            let volume = tx
                .volume_by_name(volume)?
                .filter(|row| row.state == VolumeState::Ready)
                .ok_or_else(|| VolumeError::NotFound(volume.to_owned()))?;
            let row = tx
                .snapshot_by_name(&volume.id, name)?
                .filter(|row| row.state == SnapshotState::Ready)
                .ok_or_else(|| SnapshotError::NotFound {
                    volume: volume.name.clone(),
                    name: name.to_owned(),
                })?;
            tx.lease_snapshot(&row.id, holder)?;
            tx.insert_lease(&volume.id, holder, destination, false)?;
            Ok(LeasedSnapshot {
                path: self.paths.snapshot(&volume.id, &row.id),
                id: row.id,
                volume: volume.id,
                driver: volume.driver,
            })
        })
    }

    /// Where the bytes of a leased snapshot are, ready to be read.
    ///
    /// # Errors
    /// [`VolumeError::Mount`].
    pub fn snapshot_tree(
        &self,
        volume: &VolumeId,
        id: &SnapshotId,
    ) -> Result<PathBuf, VolumeError> {
        let tree = self.paths.snapshot(volume, id);
        if let Some(row) = self.store.read(|tx| tx.volume(volume))? {
            self.expose(&row, &tree)?;
        }
        Ok(tree)
    }

    /// Ends every lease of a snapshot that `holder` has; its leases of volumes end with [`Volumes::release`].
    ///
    /// # Errors
    /// [`SnapshotError::Store`].
    pub fn release_snapshots(&self, holder: &str) -> Result<(), SnapshotError> {
        Ok(self.store.write(|tx| tx.release_snapshots_of(holder))?)
    }
}

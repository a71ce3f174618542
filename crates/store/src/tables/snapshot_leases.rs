//! Leases of snapshots: who needs one to stay, beside the lease of its volume.

use crate::db::{Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::SnapshotId;

impl Tx<'_> {
    /// Holders of a snapshot, in order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot_holders(&self, snapshot: &SnapshotId) -> Result<Vec<String>, StoreError> {
        self.rows(
            "list the users of a snapshot",
            "SELECT holder FROM snapshot_leases WHERE snapshot_id = ?1 ORDER BY holder",
            [snapshot.as_str()],
            |row| Ok(row.get(0)?),
        )
    }
}

impl WriteTx<'_> {
    /// Records a lease; one that is there stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lease_snapshot(&self, snapshot: &SnapshotId, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "record a lease of a snapshot",
            "INSERT INTO snapshot_leases (snapshot_id, holder) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            [snapshot.as_str(), holder],
        )?;
        Ok(())
    }

    /// Ends one lease.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn release_snapshot(&self, snapshot: &SnapshotId, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "end a lease of a snapshot",
            "DELETE FROM snapshot_leases WHERE snapshot_id = ?1 AND holder = ?2",
            [snapshot.as_str(), holder],
        )?;
        Ok(())
    }

    /// Ends all leases of a holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn release_snapshots_of(&self, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "end leases of snapshots",
            "DELETE FROM snapshot_leases WHERE holder = ?1",
            [holder],
        )?;
        Ok(())
    }
}

//! Leases: who needs a volume to stay.

use rusqlite::params;

use crate::db::{Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// One use of a volume, with the volume's name and driver at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub volume_name: String,
    pub holder: String,
    pub destination: String,
    /// The holder gave the volume no name: it may go with the holder.
    pub anonymous: bool,
}

const SELECT: &str = "SELECT volumes.name, holder, destination, leases.anonymous
     FROM leases JOIN volumes ON volumes.id = volume_id";

fn read(row: &rusqlite::Row<'_>) -> Result<LeaseRow, crate::db::ReadError> {
    Ok(LeaseRow {
        volume_name: row.get(0)?,
        holder: row.get(1)?,
        destination: row.get(2)?,
        anonymous: row.get(3)?,
    })
}

impl Tx<'_> {
    /// Holders of a volume, each once, in order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lease_holders(&self, volume: &VolumeId) -> Result<Vec<String>, StoreError> {
        self.rows(
            "list the users of a volume",
            "SELECT DISTINCT holder FROM leases WHERE volume_id = ?1 ORDER BY holder",
            [volume.as_str()],
            |row| Ok(row.get(0)?),
        )
    }

    /// Destinations at which each holder has a volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leases_on(&self, volume: &VolumeId) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = format!("{SELECT} WHERE volume_id = ?1 ORDER BY holder, destination");
        self.rows("list leases", &sql, [volume.as_str()], read)
    }

    /// Number of holders of each volume that has any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lease_counts(&self) -> Result<Vec<(String, usize)>, StoreError> {
        self.rows(
            "count leases",
            "SELECT volumes.name, count(DISTINCT holder) FROM leases JOIN volumes ON volumes.id = volume_id
             GROUP BY volumes.id",
            [],
            |row| {
                let count: u32 = row.get(1)?;
                Ok((row.get(0)?, usize::try_from(count).unwrap_or(usize::MAX)))
            },
        )
    }

    /// All leases, by volume name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = format!("{SELECT} ORDER BY volumes.name, holder, destination");
        self.rows("list leases", &sql, [], read)
    }

    /// Leases of one holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leases_of(&self, holder: &str) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = format!("{SELECT} WHERE holder = ?1 ORDER BY destination");
        self.rows("list leases", &sql, [holder], read)
    }
}

impl WriteTx<'_> {
    /// Records a lease; one for the same destination stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_lease(
        &self,
        volume: &VolumeId,
        holder: &str,
        destination: &str,
        anonymous: bool,
    ) -> Result<(), StoreError> {
        self.execute(
            "record a lease",
            "INSERT INTO leases (volume_id, holder, destination, anonymous) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![volume.as_str(), holder, destination, anonymous],
        )?;
        Ok(())
    }

    /// Ends the lease of one destination.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_lease(
        &self,
        volume: &VolumeId,
        holder: &str,
        destination: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "end a lease",
            "DELETE FROM leases WHERE volume_id = ?1 AND holder = ?2 AND destination = ?3",
            [volume.as_str(), holder, destination],
        )?;
        Ok(())
    }

    /// Ends all leases that a holder has of one volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_leases_on(&self, volume: &VolumeId, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "end leases",
            "DELETE FROM leases WHERE volume_id = ?1 AND holder = ?2",
            [volume.as_str(), holder],
        )?;
        Ok(())
    }

    /// Ends all leases of a holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_leases_of(&self, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "end leases",
            "DELETE FROM leases WHERE holder = ?1",
            [holder],
        )?;
        Ok(())
    }
}

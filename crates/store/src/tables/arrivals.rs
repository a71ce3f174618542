//! Volumes that come, or came, from elsewhere. What came with one is its owner's affair.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalRow {
    pub volume: VolumeId,
    /// What it is a copy of.
    pub origin: String,
    /// JSON.
    pub luggage: String,
    /// RFC 3339.
    pub began_at: String,
    /// RFC 3339; `None` while it is not complete.
    pub arrived_at: Option<String>,
}

const COLUMNS: &str = "volume_id, origin, luggage, began_at, arrived_at";

fn read(row: &Row<'_>) -> Result<ArrivalRow, ReadError> {
    let volume: String = row.get(0)?;
    Ok(ArrivalRow {
        volume: VolumeId::parse(&volume).ok_or_else(|| ReadError::Unreadable {
            table: "arrivals",
            id: volume.clone(),
            column: "volume_id",
        })?,
        origin: row.get(1)?,
        luggage: row.get(2)?,
        began_at: row.get(3)?,
        arrived_at: row.get(4)?,
    })
}

impl Tx<'_> {
    /// Every volume that came or comes from elsewhere, the first one first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn arrivals(&self) -> Result<Vec<ArrivalRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM arrivals ORDER BY began_at, volume_id");
        self.rows("list arrivals", &sql, [], read)
    }

    /// How one volume came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn arrival(&self, volume: &VolumeId) -> Result<Option<ArrivalRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM arrivals WHERE volume_id = ?1");
        self.one("find an arrival", &sql, [volume.as_str()], read)
    }
}

impl WriteTx<'_> {
    /// Notes that a volume begins to come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_arrival(&self, row: &ArrivalRow) -> Result<(), StoreError> {
        self.execute(
            "record an arrival",
            &format!("INSERT INTO arrivals ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)"),
            params![
                row.volume.as_str(),
                row.origin,
                row.luggage,
                row.began_at,
                row.arrived_at,
            ],
        )?;
        Ok(())
    }

    /// Notes that it is complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_arrived(&self, volume: &VolumeId, at: &str) -> Result<(), StoreError> {
        self.execute(
            "complete an arrival",
            "UPDATE arrivals SET arrived_at = ?2 WHERE volume_id = ?1",
            [volume.as_str(), at],
        )?;
        Ok(())
    }

    /// Forgets how a volume came; that nothing is known of it is fine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_arrival(&self, volume: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "forget an arrival",
            "DELETE FROM arrivals WHERE volume_id = ?1",
            [volume.as_str()],
        )?;
        Ok(())
    }
}

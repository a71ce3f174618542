//! Restore drills that ended: of each volume the newest ones.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::{OpId, VolumeId};

/// How many are kept of a volume beside the newest that proved it.
const KEPT: usize = 20;

/// A drill that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillRow {
    pub id: OpId,
    /// Its name in the backup.
    pub volume: String,
    /// The volume that had the name when the drill ended.
    pub volume_id: Option<VolumeId>,
    pub repository: String,
    pub backup: String,
    /// RFC 3339.
    pub backup_at: String,
    /// RFC 3339: when it ended.
    pub at: String,
    pub took_milliseconds: u64,
    pub files: u64,
    pub bytes: u64,
    /// What was run in a container; empty: nothing.
    pub command: String,
    /// Why the volume is not proven; empty: it is.
    pub failure: String,
}

const COLUMNS: &str = "id, volume, volume_id, repository, backup_id, backup_at, at, took, files, bytes, command, failure";

fn read(row: &Row<'_>) -> Result<DrillRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "drills",
        id: id.clone(),
        column,
    };
    let number = |index, column| {
        let value: i64 = row.get(index)?;
        u64::try_from(value).map_err(|_| unreadable(column))
    };
    let volume_id: Option<String> = row.get(2)?;
    Ok(DrillRow {
        volume: row.get(1)?,
        volume_id: volume_id
            .map(|text| VolumeId::parse(&text).ok_or_else(|| unreadable("volume_id")))
            .transpose()?,
        repository: row.get(3)?,
        backup: row.get(4)?,
        backup_at: row.get(5)?,
        at: row.get(6)?,
        took_milliseconds: number(7, "took")?,
        files: number(8, "files")?,
        bytes: number(9, "bytes")?,
        command: row.get(10)?,
        failure: row.get(11)?,
        id: OpId::parse(&id).ok_or_else(|| unreadable("id"))?,
    })
}

impl Tx<'_> {
    /// All drills that are kept, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn drills(&self) -> Result<Vec<DrillRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM drills ORDER BY at DESC");
        self.rows("list drills", &sql, [], read)
    }
}

impl WriteTx<'_> {
    /// Records a drill that ended, and forgets the oldest of the same volume; never the newest that proved it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_drill(&self, row: &DrillRow) -> Result<(), StoreError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let sql = format!(
            "INSERT INTO drills ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        );
        self.execute(
            "record a drill",
            &sql,
            params![
                row.id.as_str(),
                row.volume,
                row.volume_id.as_ref().map(VolumeId::as_str),
                row.repository,
                row.backup,
                row.backup_at,
                row.at,
                number(row.took_milliseconds),
                number(row.files),
                number(row.bytes),
                row.command,
                row.failure
            ],
        )?;
        let sql = format!(
            "DELETE FROM drills WHERE volume = ?1
             AND id NOT IN (SELECT id FROM drills WHERE volume = ?1 ORDER BY at DESC LIMIT {KEPT})
             AND id NOT IN (SELECT id FROM drills WHERE volume = ?1 AND failure = '' ORDER BY at DESC LIMIT 1)"
        );
        self.execute("forget old drills", &sql, [row.volume.as_str()])?;
        Ok(())
    }
}

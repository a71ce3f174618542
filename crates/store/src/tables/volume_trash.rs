//! Volumes that were removed and can still be had back. Their bytes stay in `data/<id>`; their names are free.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx, map_to_json};
use crate::error::StoreError;
use crate::ids::VolumeId;
use crate::tables::volumes::{VolumeRow, VolumeState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashRow {
    /// The volume as it was; `Ready`, as it will be again.
    pub volume: VolumeRow,
    /// RFC 3339.
    pub trashed_at: String,
    /// RFC 3339, in UTC with all digits alike: comparable as text.
    pub expires_at: String,
    /// `rm`, `prune`, `container`.
    pub reason: String,
    /// What its files took, when that was measured.
    pub bytes: Option<u64>,
}

const COLUMNS: &str = "volume_id, name, driver, options, labels, anonymous, created_at, trashed_at, expires_at, \
                       reason, bytes";

fn read(row: &Row<'_>) -> Result<TrashRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "volume_trash",
        id: id.clone(),
        column,
    };
    let map = |index, column| -> Result<_, ReadError> {
        let text: Option<String> = row.get(index)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| unreadable(column)))
            .transpose()
    };
    let bytes: Option<i64> = row.get(10)?;
    Ok(TrashRow {
        volume: VolumeRow {
            id: VolumeId::parse(&id).ok_or_else(|| unreadable("volume_id"))?,
            name: row.get(1)?,
            driver: row.get(2)?,
            options: map(3, "options")?,
            labels: map(4, "labels")?,
            anonymous: row.get(5)?,
            state: VolumeState::Ready,
            created_at: row.get(6)?,
        },
        trashed_at: row.get(7)?,
        expires_at: row.get(8)?,
        reason: row.get(9)?,
        bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}

impl Tx<'_> {
    /// Everything in the trash, what was put there first first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trash(&self) -> Result<Vec<TrashRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volume_trash ORDER BY trashed_at, volume_id");
        self.rows("list the trash", &sql, [], read)
    }

    /// One volume in the trash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trashed(&self, id: &VolumeId) -> Result<Option<TrashRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volume_trash WHERE volume_id = ?1");
        self.one("look into the trash", &sql, [id.as_str()], read)
    }
}

impl WriteTx<'_> {
    /// Moves a volume's record into the trash: its name is free from then on.
    ///
    /// # Errors
    /// [`StoreError`]; a lease or mount that still refers to it is one.
    pub fn trash_volume(&self, row: &TrashRow) -> Result<(), StoreError> {
        let volume = &row.volume;
        self.execute(
            "put a volume into the trash",
            &format!(
                "INSERT INTO volume_trash ({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            ),
            params![
                volume.id.as_str(),
                volume.name,
                volume.driver,
                map_to_json(volume.options.as_ref()),
                map_to_json(volume.labels.as_ref()),
                volume.anonymous,
                volume.created_at,
                row.trashed_at,
                row.expires_at,
                row.reason,
                row.bytes
                    .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            ],
        )?;
        self.execute(
            "put a volume into the trash",
            "DELETE FROM volumes WHERE id = ?1",
            [volume.id.as_str()],
        )?;
        Ok(())
    }

    /// Records what a volume in the trash takes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_trashed_bytes(&self, id: &VolumeId, bytes: u64) -> Result<(), StoreError> {
        self.execute(
            "note the size of a volume in the trash",
            "UPDATE volume_trash SET bytes = ?2 WHERE volume_id = ?1",
            params![id.as_str(), i64::try_from(bytes).unwrap_or(i64::MAX)],
        )?;
        Ok(())
    }

    /// Forgets a volume in the trash; what is noted of it stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_trashed(&self, id: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "take a volume from the trash",
            "DELETE FROM volume_trash WHERE volume_id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

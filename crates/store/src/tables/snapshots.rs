//! Snapshots: what they are called and why they were made. Their bytes are in `data/<volume id>/snapshots/<id>`.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx, map_to_json};
use crate::error::StoreError;
use crate::ids::{SnapshotId, VolumeId};

/// Where a snapshot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotState {
    /// Its name is taken; nobody sees it yet.
    Creating,
    Ready,
    /// Its name is free again; its bytes are being deleted.
    Removing,
}

impl SnapshotState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Removing => "removing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Creating, Self::Ready, Self::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub id: SnapshotId,
    pub volume: VolumeId,
    /// Unique for the volume.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    pub state: SnapshotState,
    pub labels: Option<BTreeMap<String, String>>,
    /// `manual`, `schedule`, `before-restore` …
    pub reason: String,
    /// What was done so that the bytes fit together.
    pub consistency: String,
    /// The same for all that were made at one instant by one request.
    pub group: Option<String>,
    /// RFC 3339.
    pub expires_at: Option<String>,
    /// Neither expiry nor retention removes it.
    pub pinned: bool,
    /// Bytes, when making it told them.
    pub size: Option<u64>,
}

const COLUMNS: &str = "id, volume_id, name, created_at, state, labels, reason, consistency, group_id, expires_at, \
     pinned, size";

fn read(row: &Row<'_>) -> Result<SnapshotRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "snapshot",
        id: id.clone(),
        column,
    };
    let volume: String = row.get(1)?;
    let state: String = row.get(4)?;
    let labels: Option<String> = row.get(5)?;
    let size: Option<i64> = row.get(11)?;
    Ok(SnapshotRow {
        id: SnapshotId::parse(&id).ok_or_else(|| unreadable("id"))?,
        volume: VolumeId::parse(&volume).ok_or_else(|| unreadable("volume_id"))?,
        name: row.get(2)?,
        created_at: row.get(3)?,
        state: SnapshotState::parse(&state).ok_or_else(|| unreadable("state"))?,
        labels: labels
            .map(|text| serde_json::from_str(&text).map_err(|_| unreadable("labels")))
            .transpose()?,
        reason: row.get(6)?,
        consistency: row.get(7)?,
        group: row.get(8)?,
        expires_at: row.get(9)?,
        pinned: row.get(10)?,
        size: size
            .map(|size| u64::try_from(size).map_err(|_| unreadable("size")))
            .transpose()?,
    })
}

impl Tx<'_> {
    /// The snapshot in any state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<SnapshotRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM snapshots WHERE id = ?1");
        self.one("find a snapshot", &sql, [id.as_str()], read)
    }

    /// The snapshot that has `name`, be it complete or being made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot_by_name(
        &self,
        volume: &VolumeId,
        name: &str,
    ) -> Result<Option<SnapshotRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM snapshots WHERE volume_id = ?1 AND name = ?2 AND state != 'removing'"
        );
        self.one("find a snapshot", &sql, [volume.as_str(), name], read)
    }

    /// Complete snapshots of one volume, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshots_of(&self, volume: &VolumeId) -> Result<Vec<SnapshotRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM snapshots WHERE volume_id = ?1 AND state = 'ready'
             ORDER BY created_at, rowid"
        );
        self.rows("list snapshots", &sql, [volume.as_str()], read)
    }

    /// Snapshots of all volumes in every state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshots_in_any_state(&self) -> Result<Vec<SnapshotRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM snapshots ORDER BY created_at, rowid");
        self.rows("list snapshots", &sql, [], read)
    }
}

impl WriteTx<'_> {
    /// Takes the name and records the snapshot.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn insert_snapshot(&self, row: &SnapshotRow) -> Result<(), StoreError> {
        self.execute(
            "record a snapshot",
            &format!(
                "INSERT INTO snapshots ({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
            ),
            params![
                row.id.as_str(),
                row.volume.as_str(),
                row.name,
                row.created_at,
                row.state.as_str(),
                map_to_json(row.labels.as_ref()),
                row.reason,
                row.consistency,
                row.group,
                row.expires_at,
                row.pinned,
                row.size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
            ],
        )?;
        Ok(())
    }

    /// Moves a snapshot on in its life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_snapshot_state(
        &self,
        id: &SnapshotId,
        state: SnapshotState,
    ) -> Result<(), StoreError> {
        self.execute(
            "change the state of a snapshot",
            "UPDATE snapshots SET state = ?2 WHERE id = ?1",
            [id.as_str(), state.as_str()],
        )?;
        Ok(())
    }

    /// When its bytes were read, and how many they are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_snapshot_size(&self, id: &SnapshotId, size: u64) -> Result<(), StoreError> {
        self.execute(
            "record the size of a snapshot",
            "UPDATE snapshots SET size = ?2 WHERE id = ?1",
            params![id.as_str(), i64::try_from(size).unwrap_or(i64::MAX)],
        )?;
        Ok(())
    }

    /// Keeps a snapshot from expiry and retention, or gives it back to them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pin_snapshot(&self, id: &SnapshotId, pinned: bool) -> Result<(), StoreError> {
        self.execute(
            "pin a snapshot",
            "UPDATE snapshots SET pinned = ?2 WHERE id = ?1",
            params![id.as_str(), pinned],
        )?;
        Ok(())
    }

    /// Forgets a snapshot; its bytes must be gone.
    ///
    /// # Errors
    /// [`StoreError`]; a lease that still refers to it is one.
    pub fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), StoreError> {
        self.execute(
            "forget a snapshot",
            "DELETE FROM snapshots WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }

    /// Forgets the snapshots and the schedule of a volume whose directory, with all of them in it, is gone.
    ///
    /// # Errors
    /// [`StoreError`]; a lease that still refers to one is one.
    pub fn forget_snapshots_of(&self, volume: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "forget the snapshots of a volume",
            "DELETE FROM snapshots WHERE volume_id = ?1",
            [volume.as_str()],
        )?;
        self.delete_schedule(volume)
    }
}

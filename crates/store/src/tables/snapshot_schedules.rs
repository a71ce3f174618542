//! Schedules: when snapshots of a volume are made by themselves. What a policy says is its owner's affair.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    pub volume: VolumeId,
    /// JSON.
    pub policy: String,
    /// RFC 3339: when it last made a snapshot.
    pub last_run: Option<String>,
    /// JSON: what went wrong since.
    pub failure: Option<String>,
}

/// Key of the setting that keeps what went wrong with a volume's schedule.
fn failure_key(volume: &VolumeId) -> String {
    format!("snapshot-schedule-failure/{volume}")
}

const SELECT: &str = "SELECT volume_id, policy, last_run, value FROM snapshot_schedules
     LEFT JOIN meta ON key = 'snapshot-schedule-failure/' || volume_id";

fn read(row: &Row<'_>) -> Result<ScheduleRow, ReadError> {
    let volume: String = row.get(0)?;
    Ok(ScheduleRow {
        volume: VolumeId::parse(&volume).ok_or_else(|| ReadError::Unreadable {
            table: "snapshot_schedules",
            id: volume.clone(),
            column: "volume_id",
        })?,
        policy: row.get(1)?,
        last_run: row.get(2)?,
        failure: row.get(3)?,
    })
}

impl Tx<'_> {
    /// The schedule of every volume that has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError> {
        self.rows(
            "list schedules",
            &format!("{SELECT} ORDER BY volume_id"),
            [],
            read,
        )
    }

    /// The schedule of one volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn schedule_of(&self, volume: &VolumeId) -> Result<Option<ScheduleRow>, StoreError> {
        self.one(
            "find a schedule",
            &format!("{SELECT} WHERE volume_id = ?1"),
            [volume.as_str()],
            read,
        )
    }
}

impl WriteTx<'_> {
    /// Gives a volume a schedule, in place of the one it may have; when that last ran stays known, what went wrong does not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_schedule(&self, volume: &VolumeId, policy: &str) -> Result<(), StoreError> {
        self.execute(
            "record a schedule",
            "INSERT INTO snapshot_schedules (volume_id, policy) VALUES (?1, ?2)
             ON CONFLICT (volume_id) DO UPDATE SET policy = ?2",
            [volume.as_str(), policy],
        )?;
        self.delete_meta(&failure_key(volume))
    }

    /// Notes that a schedule has made its snapshot: nothing went wrong since.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn schedule_ran(&self, volume: &VolumeId, at: &str) -> Result<(), StoreError> {
        self.execute(
            "record the run of a schedule",
            "UPDATE snapshot_schedules SET last_run = ?2 WHERE volume_id = ?1",
            params![volume.as_str(), at],
        )?;
        self.delete_meta(&failure_key(volume))
    }

    /// Notes what went wrong with a volume's schedule; of one that has gone meanwhile nothing is noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn schedule_failed(&self, volume: &VolumeId, failure: &str) -> Result<(), StoreError> {
        match self.schedule_of(volume)? {
            Some(_) => self.set_meta(&failure_key(volume), failure),
            None => Ok(()),
        }
    }

    /// Takes a volume's schedule away; one that is not there is fine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_schedule(&self, volume: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "forget a schedule",
            "DELETE FROM snapshot_schedules WHERE volume_id = ?1",
            [volume.as_str()],
        )?;
        self.delete_meta(&failure_key(volume))
    }
}

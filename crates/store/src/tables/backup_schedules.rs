//! Backups that are made by themselves. What a plan and a state say is their owner's affair.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupScheduleRow {
    pub name: String,
    /// JSON.
    pub plan: String,
    /// JSON.
    pub state: String,
}

fn read(row: &Row<'_>) -> Result<BackupScheduleRow, ReadError> {
    Ok(BackupScheduleRow {
        name: row.get(0)?,
        plan: row.get(1)?,
        state: row.get(2)?,
    })
}

impl Tx<'_> {
    /// All schedules, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn backup_schedules(&self) -> Result<Vec<BackupScheduleRow>, StoreError> {
        self.rows(
            "list schedules of backups",
            "SELECT name, plan, state FROM backup_schedules ORDER BY name",
            [],
            read,
        )
    }

    /// The schedule of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn backup_schedule(&self, name: &str) -> Result<Option<BackupScheduleRow>, StoreError> {
        self.one(
            "find a schedule of backups",
            "SELECT name, plan, state FROM backup_schedules WHERE name = ?1",
            [name],
            read,
        )
    }
}

impl WriteTx<'_> {
    /// Records a schedule, in place of the one that may have the name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_backup_schedule(&self, row: &BackupScheduleRow) -> Result<(), StoreError> {
        self.execute(
            "record a schedule of backups",
            "INSERT INTO backup_schedules (name, plan, state) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET plan = ?2, state = ?3",
            params![row.name, row.plan, row.state],
        )?;
        Ok(())
    }

    /// Records what became of a schedule; one that has gone meanwhile stays gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_backup_schedule_state(&self, name: &str, state: &str) -> Result<(), StoreError> {
        self.execute(
            "record the state of a schedule of backups",
            "UPDATE backup_schedules SET state = ?2 WHERE name = ?1",
            [name, state],
        )?;
        Ok(())
    }

    /// Forgets a schedule; one that is not there is fine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_backup_schedule(&self, name: &str) -> Result<(), StoreError> {
        self.execute(
            "forget a schedule of backups",
            "DELETE FROM backup_schedules WHERE name = ?1",
            [name],
        )?;
        Ok(())
    }
}

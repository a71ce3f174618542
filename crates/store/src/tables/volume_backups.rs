//! The newest backup of each volume in each repository.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::{RepositoryId, VolumeId};

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeBackupRow {
    pub volume: VolumeId,
    pub repository: RepositoryId,
    /// Name of the repository; not written.
    pub repository_name: String,
    pub backup: String,
    /// RFC 3339.
    pub at: String,
    /// Of the files.
    pub bytes: u64,
    /// What was added to the repository for them.
    pub stored_bytes: u64,
}

const SELECT: &str = "SELECT volume_id, repository, backup_repositories.name, backup_id, at, bytes, stored_bytes
                      FROM volume_backups JOIN backup_repositories ON backup_repositories.id = repository";

fn read(row: &Row<'_>) -> Result<VolumeBackupRow, ReadError> {
    let (volume, repository): (String, String) = (row.get(0)?, row.get(1)?);
    let unreadable = |column| ReadError::Unreadable {
        table: "volume_backups",
        id: volume.clone(),
        column,
    };
    let (bytes, stored): (i64, i64) = (row.get(5)?, row.get(6)?);
    Ok(VolumeBackupRow {
        repository: RepositoryId::parse(&repository).ok_or_else(|| unreadable("repository"))?,
        repository_name: row.get(2)?,
        backup: row.get(3)?,
        at: row.get(4)?,
        bytes: u64::try_from(bytes).map_err(|_| unreadable("bytes"))?,
        stored_bytes: u64::try_from(stored).map_err(|_| unreadable("stored_bytes"))?,
        volume: VolumeId::parse(&volume).ok_or_else(|| unreadable("volume_id"))?,
    })
}

impl Tx<'_> {
    /// The newest backups of a volume, one for each repository that has any; the newest of all first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_backups_of(&self, volume: &VolumeId) -> Result<Vec<VolumeBackupRow>, StoreError> {
        let sql = format!("{SELECT} WHERE volume_id = ?1 ORDER BY at DESC");
        self.rows(
            "list the backups of a volume",
            &sql,
            [volume.as_str()],
            read,
        )
    }

    /// The same of every volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_backups(&self) -> Result<Vec<VolumeBackupRow>, StoreError> {
        let sql = format!("{SELECT} ORDER BY volume_id, at DESC");
        self.rows("list the backups of volumes", &sql, [], read)
    }
}

impl WriteTx<'_> {
    /// Notes that this is the newest backup of the volume in the repository.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_backup(&self, row: &VolumeBackupRow) -> Result<(), StoreError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.execute(
            "note a backup",
            "INSERT INTO volume_backups (volume_id, repository, backup_id, at, bytes, stored_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (volume_id, repository) DO UPDATE SET backup_id = excluded.backup_id, at = excluded.at,
             bytes = excluded.bytes, stored_bytes = excluded.stored_bytes",
            params![
                row.volume.as_str(),
                row.repository.as_str(),
                row.backup,
                row.at,
                number(row.bytes),
                number(row.stored_bytes)
            ],
        )?;
        Ok(())
    }

    /// Notes that backups are no longer in a repository.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_volume_backup(
        &self,
        repository: &RepositoryId,
        backup: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "forget a backup",
            "DELETE FROM volume_backups WHERE repository = ?1 AND backup_id = ?2",
            [repository.as_str(), backup],
        )?;
        Ok(())
    }
}

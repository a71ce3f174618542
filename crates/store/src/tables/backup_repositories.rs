//! Repositories of backups by the names that users gave them.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::RepositoryId;

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    pub id: RepositoryId,
    pub name: String,
    /// As it may be shown: without a password.
    pub location: String,
    /// The id that the repository gave itself.
    pub repository_id: String,
    /// RFC 3339.
    pub created_at: String,
}

const COLUMNS: &str = "id, name, location, repository_id, created_at";

fn read(row: &Row<'_>) -> Result<RepositoryRow, ReadError> {
    let id: String = row.get(0)?;
    Ok(RepositoryRow {
        id: RepositoryId::parse(&id).ok_or(ReadError::Unreadable {
            table: "backup_repositories",
            id,
            column: "id",
        })?,
        name: row.get(1)?,
        location: row.get(2)?,
        repository_id: row.get(3)?,
        created_at: row.get(4)?,
    })
}

impl Tx<'_> {
    /// All repositories, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn repositories(&self) -> Result<Vec<RepositoryRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM backup_repositories ORDER BY name");
        self.rows("list repositories", &sql, [], read)
    }

    /// The repository that was given this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn repository_by_name(&self, name: &str) -> Result<Option<RepositoryRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM backup_repositories WHERE name = ?1");
        self.one("find a repository", &sql, [name], read)
    }
}

impl WriteTx<'_> {
    /// Records a repository.
    ///
    /// # Errors
    /// [`StoreError`], among it that the name is taken.
    pub fn insert_repository(&self, row: &RepositoryRow) -> Result<(), StoreError> {
        self.execute(
            "record a repository",
            "INSERT INTO backup_repositories (id, name, location, repository_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                row.id.as_str(),
                row.name,
                row.location,
                row.repository_id,
                row.created_at
            ],
        )?;
        Ok(())
    }

    /// Forgets a repository, and what was noted of backups in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_repository(&self, id: &RepositoryId) -> Result<(), StoreError> {
        self.execute(
            "forget the backups in a repository",
            "DELETE FROM volume_backups WHERE repository = ?1",
            [id.as_str()],
        )?;
        self.execute(
            "forget a repository",
            "DELETE FROM backup_repositories WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

//! Storage pools: where volumes can be put beside the state directory.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx, map_to_json};
use crate::error::StoreError;
use crate::ids::PoolId;

/// Where a pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolState {
    Creating,
    Ready,
    Removing,
}

impl PoolState {
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

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    pub id: PoolId,
    pub name: String,
    /// The word of its kind.
    pub kind: String,
    /// A directory or a device; `None`: a file of the engine's own.
    pub source: Option<String>,
    /// Bytes of that file.
    pub size: Option<u64>,
    /// Of the filesystem, where that has one.
    pub uuid: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub state: PoolState,
    /// RFC 3339.
    pub created_at: String,
}

const COLUMNS: &str = "id, name, kind, source, size, uuid, labels, state, created_at";

fn read(row: &Row<'_>) -> Result<PoolRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "pools",
        id: id.clone(),
        column,
    };
    let size: Option<i64> = row.get(4)?;
    let labels: Option<String> = row.get(6)?;
    let state: String = row.get(7)?;
    Ok(PoolRow {
        id: PoolId::parse(&id).ok_or_else(|| unreadable("id"))?,
        name: row.get(1)?,
        kind: row.get(2)?,
        source: row.get(3)?,
        size: size
            .map(|size| u64::try_from(size).map_err(|_| unreadable("size")))
            .transpose()?,
        uuid: row.get(5)?,
        labels: labels
            .map(|text| serde_json::from_str(&text).map_err(|_| unreadable("labels")))
            .transpose()?,
        state: PoolState::parse(&state).ok_or_else(|| unreadable("state"))?,
        created_at: row.get(8)?,
    })
}

impl Tx<'_> {
    /// Every pool in whatever state, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pools(&self) -> Result<Vec<PoolRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM pools ORDER BY name, id");
        self.rows("list pools", &sql, [], read)
    }

    /// The pool that has the name, complete or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pool_by_name(&self, name: &str) -> Result<Option<PoolRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM pools WHERE name = ?1 AND state != 'removing'");
        self.one("find a pool", &sql, [name], read)
    }

    /// One pool by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pool(&self, id: &PoolId) -> Result<Option<PoolRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM pools WHERE id = ?1");
        self.one("find a pool", &sql, [id.as_str()], read)
    }
}

impl WriteTx<'_> {
    /// Records a pool.
    ///
    /// # Errors
    /// [`StoreError`], among it that the name is taken.
    pub fn insert_pool(&self, row: &PoolRow) -> Result<(), StoreError> {
        self.execute(
            "record a pool",
            &format!("INSERT INTO pools ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
            params![
                row.id.as_str(),
                row.name,
                row.kind,
                row.source,
                row.size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
                row.uuid,
                map_to_json(row.labels.as_ref()),
                row.state.as_str(),
                row.created_at,
            ],
        )?;
        Ok(())
    }

    /// Gives a pool another name.
    ///
    /// # Errors
    /// [`StoreError`], among it that the name is taken.
    pub fn rename_pool(&self, id: &PoolId, name: &str) -> Result<(), StoreError> {
        self.execute(
            "rename a pool",
            "UPDATE pools SET name = ?2 WHERE id = ?1",
            [id.as_str(), name],
        )?;
        Ok(())
    }

    /// Moves a pool to another state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_pool_state(&self, id: &PoolId, state: PoolState) -> Result<(), StoreError> {
        self.execute(
            "change the state of a pool",
            "UPDATE pools SET state = ?2 WHERE id = ?1",
            [id.as_str(), state.as_str()],
        )?;
        Ok(())
    }

    /// Records the size of a pool's own file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_pool_size(&self, id: &PoolId, size: u64) -> Result<(), StoreError> {
        self.execute(
            "resize a pool",
            "UPDATE pools SET size = ?2 WHERE id = ?1",
            params![id.as_str(), i64::try_from(size).unwrap_or(i64::MAX)],
        )?;
        Ok(())
    }

    /// Forgets a pool.
    ///
    /// # Errors
    /// [`StoreError`], among it that volumes lie in it.
    pub fn delete_pool(&self, id: &PoolId) -> Result<(), StoreError> {
        self.execute(
            "forget a pool",
            "DELETE FROM pools WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

//! Operations under way. Only [`crate::journal`] changes this table.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::OpId;

/// One operation that has not ended.
#[derive(Debug, Clone)]
pub struct OpRow {
    pub id: OpId,
    pub kind: String,
    /// What it works on, for people.
    pub object: String,
    /// The operation itself as JSON.
    pub params: String,
    /// The last step whose effects are recorded; empty before the first.
    pub step: String,
    /// RFC 3339.
    pub started: String,
}

const COLUMNS: &str = "id, kind, object, params, step, started";

fn read(row: &Row<'_>) -> Result<OpRow, ReadError> {
    let id: String = row.get(0)?;
    Ok(OpRow {
        id: OpId::parse(&id).ok_or(ReadError::Unreadable {
            table: "ops",
            id,
            column: "id",
        })?,
        kind: row.get(1)?,
        object: row.get(2)?,
        params: row.get(3)?,
        step: row.get(4)?,
        started: row.get(5)?,
    })
}

impl Tx<'_> {
    /// All open operations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ops(&self) -> Result<Vec<OpRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM ops ORDER BY number");
        self.rows("list operations", &sql, [], read)
    }

    /// Open operations of one kind, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ops_of_kind(&self, kind: &str) -> Result<Vec<OpRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM ops WHERE kind = ?1 ORDER BY number");
        self.rows("list operations", &sql, [kind], read)
    }
}

impl WriteTx<'_> {
    pub(crate) fn insert_op(
        &self,
        id: &OpId,
        kind: &str,
        object: &str,
        params: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "record an operation",
            "INSERT INTO ops (id, number, kind, object, params, started)
             VALUES (?1, (SELECT COALESCE(MAX(number), 0) + 1 FROM ops), ?2, ?3, ?4, ?5)",
            params![
                id.as_str(),
                kind,
                object,
                params,
                jiff::Timestamp::now().to_string()
            ],
        )?;
        Ok(())
    }

    pub(crate) fn advance_op(&self, id: &OpId, step: &str) -> Result<(), StoreError> {
        self.execute(
            "advance an operation",
            "UPDATE ops SET step = ?2 WHERE id = ?1",
            [id.as_str(), step],
        )?;
        Ok(())
    }

    pub(crate) fn delete_op(&self, id: &OpId) -> Result<(), StoreError> {
        self.execute(
            "close an operation",
            "DELETE FROM ops WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

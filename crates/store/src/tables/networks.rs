//! Networks that users made: what was asked for, and what they were given.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx, map_to_json};
use crate::error::StoreError;

/// Where a network is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    /// Its name is taken; its bridge is being made.
    Creating,
    Ready,
    /// Its name is free again; its bridge is being taken away.
    Removing,
}

impl NetworkState {
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
pub struct NetworkRow {
    /// 64 hex digits.
    pub id: String,
    pub name: String,
    pub driver: String,
    /// RFC 3339.
    pub created_at: String,
    pub state: NetworkState,
    pub labels: Option<BTreeMap<String, String>>,
    /// JSON: what the user asked for.
    pub request: String,
    /// JSON: device and addresses.
    pub plan: String,
}

const COLUMNS: &str = "id, name, driver, created_at, state, labels, request, plan";

fn read(row: &Row<'_>) -> Result<NetworkRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "network",
        id: id.clone(),
        column,
    };
    let state: String = row.get(4)?;
    let labels: Option<String> = row.get(5)?;
    Ok(NetworkRow {
        name: row.get(1)?,
        driver: row.get(2)?,
        created_at: row.get(3)?,
        state: NetworkState::parse(&state).ok_or_else(|| unreadable("state"))?,
        labels: labels
            .map(|text| serde_json::from_str(&text).map_err(|_| unreadable("labels")))
            .transpose()?,
        request: row.get(6)?,
        plan: row.get(7)?,
        id,
    })
}

impl Tx<'_> {
    /// Networks in every state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn networks(&self) -> Result<Vec<NetworkRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM networks ORDER BY created_at, rowid");
        self.rows("list networks", &sql, [], read)
    }
}

impl WriteTx<'_> {
    /// Takes the name and records the network.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn insert_network(&self, row: &NetworkRow) -> Result<(), StoreError> {
        self.execute(
            "record a network",
            &format!("INSERT INTO networks ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
            params![
                row.id,
                row.name,
                row.driver,
                row.created_at,
                row.state.as_str(),
                map_to_json(row.labels.as_ref()),
                row.request,
                row.plan,
            ],
        )?;
        Ok(())
    }

    /// Moves a network on in its life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_network_state(&self, id: &str, state: NetworkState) -> Result<(), StoreError> {
        self.execute(
            "change the state of a network",
            "UPDATE networks SET state = ?2 WHERE id = ?1",
            [id, state.as_str()],
        )?;
        Ok(())
    }

    /// Forgets a network.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_network(&self, id: &str) -> Result<(), StoreError> {
        self.execute(
            "forget a network",
            "DELETE FROM networks WHERE id = ?1",
            [id],
        )?;
        Ok(())
    }
}

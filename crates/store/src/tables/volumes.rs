//! Volumes: what they are called and how they were made. Their bytes are in `data/<id>`.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx, map_to_json};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// Its name is taken; nobody sees it yet.
    Creating,
    Ready,
    /// Its name is free again; its bytes are being deleted.
    Removing,
}

impl VolumeState {
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
pub struct VolumeRow {
    pub id: VolumeId,
    pub name: String,
    pub driver: String,
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub anonymous: bool,
    pub state: VolumeState,
    /// RFC 3339.
    pub created_at: String,
}

const COLUMNS: &str = "id, name, driver, options, labels, anonymous, state, created_at";

fn unreadable(id: &str, column: &'static str) -> ReadError {
    ReadError::Unreadable {
        table: "volume",
        id: id.to_owned(),
        column,
    }
}

fn parsed(id: &str) -> Result<VolumeId, ReadError> {
    VolumeId::parse(id).ok_or_else(|| unreadable(id, "id"))
}

fn read(row: &Row<'_>) -> Result<VolumeRow, ReadError> {
    let id: String = row.get(0)?;
    let unreadable = |column| unreadable(&id, column);
    let map = |index, column| -> Result<_, ReadError> {
        let text: Option<String> = row.get(index)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| unreadable(column)))
            .transpose()
    };
    let state: String = row.get(6)?;
    Ok(VolumeRow {
        id: parsed(&id)?,
        name: row.get(1)?,
        driver: row.get(2)?,
        options: map(3, "options")?,
        labels: map(4, "labels")?,
        anonymous: row.get(5)?,
        state: VolumeState::parse(&state).ok_or_else(|| unreadable("state"))?,
        created_at: row.get(7)?,
    })
}

impl Tx<'_> {
    /// The volume that has `name`, be it complete or being created.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_by_name(&self, name: &str) -> Result<Option<VolumeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volumes WHERE name = ?1 AND state != 'removing'");
        self.one("find a volume", &sql, [name], read)
    }

    /// Every volume in any state, by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume(&self, id: &VolumeId) -> Result<Option<VolumeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volumes WHERE id = ?1");
        self.one("find a volume", &sql, [id.as_str()], read)
    }

    /// Complete volumes by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes(&self) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volumes WHERE state = 'ready' ORDER BY name");
        self.rows("list volumes", &sql, [], read)
    }

    /// Whether there is any volume, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_volumes(&self) -> Result<bool, StoreError> {
        let any = self.one(
            "look for volumes",
            "SELECT 1 FROM volumes LIMIT 1",
            [],
            |row| Ok(row.get::<_, i64>(0)?),
        )?;
        Ok(any.is_some())
    }

    /// Complete volumes that were made with options, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_with_options(&self) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM volumes WHERE state = 'ready' AND options IS NOT NULL ORDER BY name"
        );
        self.rows("list volumes", &sql, [], read)
    }

    /// Id, name and driver of complete volumes: for who compares very many with what is on disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_drivers(&self) -> Result<Vec<(VolumeId, String, String)>, StoreError> {
        let sql = "SELECT id, name, driver FROM volumes WHERE state = 'ready'";
        self.rows("list volumes", sql, [], |row| {
            let id: String = row.get(0)?;
            Ok((parsed(&id)?, row.get(1)?, row.get(2)?))
        })
    }

    /// Id, name and state of the volumes in every state: for who compares them with what is on disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_identities(&self) -> Result<Vec<(VolumeId, String, VolumeState)>, StoreError> {
        let sql = "SELECT id, name, state FROM volumes ORDER BY name, id";
        self.rows("list volumes", sql, [], |row| {
            let (id, state): (String, String) = (row.get(0)?, row.get(2)?);
            let state = VolumeState::parse(&state).ok_or_else(|| unreadable(&id, "state"));
            Ok((parsed(&id)?, row.get(1)?, state?))
        })
    }

    /// Complete volumes that an image filled, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_seeded(&self) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM volumes WHERE state = 'ready' AND EXISTS (
                 SELECT 1 FROM volume_notes WHERE volume_id = volumes.id AND seeded_by IS NOT NULL
             ) ORDER BY name"
        );
        self.rows("list volumes", &sql, [], read)
    }

    /// Complete volumes with this label, whatever its value, that no lease refers to, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_labelled_without_lease(
        &self,
        label: &str,
    ) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM volumes WHERE state = 'ready' AND labels IS NOT NULL
             AND EXISTS (SELECT 1 FROM json_each(labels) WHERE json_each.key = ?1)
             AND NOT EXISTS (SELECT 1 FROM leases WHERE volume_id = volumes.id) ORDER BY name"
        );
        self.rows("list unused volumes", &sql, [label], read)
    }

    /// Volumes in every state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_in_any_state(&self) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volumes ORDER BY name, id");
        self.rows("list volumes", &sql, [], read)
    }

    /// Complete volumes that no lease refers to, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_without_lease(&self) -> Result<Vec<VolumeRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM volumes WHERE state = 'ready'
             AND NOT EXISTS (SELECT 1 FROM leases WHERE volume_id = volumes.id) ORDER BY name"
        );
        self.rows("list unused volumes", &sql, [], read)
    }
}

impl WriteTx<'_> {
    /// Takes the name and records the volume.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn insert_volume(&self, row: &VolumeRow) -> Result<(), StoreError> {
        self.execute(
            "record a volume",
            &format!("INSERT INTO volumes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
            params![
                row.id.as_str(),
                row.name,
                row.driver,
                map_to_json(row.options.as_ref()),
                map_to_json(row.labels.as_ref()),
                row.anonymous,
                row.state.as_str(),
                row.created_at,
            ],
        )?;
        Ok(())
    }

    /// Moves a volume on in its life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_state(&self, id: &VolumeId, state: VolumeState) -> Result<(), StoreError> {
        self.execute(
            "change the state of a volume",
            "UPDATE volumes SET state = ?2 WHERE id = ?1",
            [id.as_str(), state.as_str()],
        )?;
        Ok(())
    }

    /// Gives a volume another name.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn rename_volume(&self, id: &VolumeId, name: &str) -> Result<(), StoreError> {
        self.execute(
            "rename a volume",
            "UPDATE volumes SET name = ?2 WHERE id = ?1",
            [id.as_str(), name],
        )?;
        Ok(())
    }

    /// Replaces a volume's labels.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_labels(
        &self,
        id: &VolumeId,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Result<(), StoreError> {
        self.execute(
            "label a volume",
            "UPDATE volumes SET labels = ?2 WHERE id = ?1",
            params![id.as_str(), map_to_json(labels)],
        )?;
        Ok(())
    }

    /// Forgets a volume and everything noted of it; its bytes must be gone.
    ///
    /// # Errors
    /// [`StoreError`]; a lease or mount that still refers to it is one.
    pub fn delete_volume(&self, id: &VolumeId) -> Result<(), StoreError> {
        self.delete_volume_notes(id)?;
        self.execute(
            "forget a volume",
            "DELETE FROM volumes WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

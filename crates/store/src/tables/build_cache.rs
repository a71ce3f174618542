//! What builds need not do again: steps by the key of everything they depend on, images by what they are, shared directories.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::LayerId;

/// What a step of a build once gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecordRow {
    /// `sha256:…` of everything that the step depends on.
    pub key: String,
    /// `None`: the step changed no file.
    pub layer: Option<LayerId>,
    /// Another key of a step that has one already.
    pub alias: bool,
    /// The key of the step itself, the same as `key` unless this is an alias; empty in records of earlier versions.
    pub step: String,
    /// The instruction, for people.
    pub description: String,
    /// JSON: what a build says again when it uses the record.
    pub notes: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub used_at: String,
    pub uses: u64,
}

/// A directory that steps of builds share (`RUN --mount=type=cache`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildMountRow {
    pub id: i64,
    /// `None`: it is being removed.
    pub key: Option<String>,
    pub description: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub used_at: String,
    pub uses: u64,
}

const RECORD: &str = "key, layer_id, alias, description, notes, created_at, used_at, uses, step";
const MOUNT: &str = "id, key, description, created_at, used_at, uses";

fn record(row: &Row<'_>) -> Result<BuildRecordRow, ReadError> {
    let key: String = row.get(0)?;
    let uses: i64 = row.get(7)?;
    let Ok(uses) = u64::try_from(uses) else {
        return Err(ReadError::Unreadable {
            table: "build record",
            id: key,
            column: "uses",
        });
    };
    Ok(BuildRecordRow {
        key,
        layer: row.get::<_, Option<i64>>(1)?.map(LayerId),
        alias: row.get(2)?,
        description: row.get(3)?,
        notes: row.get(4)?,
        created_at: row.get(5)?,
        used_at: row.get(6)?,
        uses,
        step: row.get(8)?,
    })
}

fn mount(row: &Row<'_>) -> Result<BuildMountRow, ReadError> {
    let id: i64 = row.get(0)?;
    let uses: i64 = row.get(5)?;
    Ok(BuildMountRow {
        id,
        key: row.get(1)?,
        description: row.get(2)?,
        created_at: row.get(3)?,
        used_at: row.get(4)?,
        uses: u64::try_from(uses).map_err(|_| ReadError::Unreadable {
            table: "build mount",
            id: id.to_string(),
            column: "uses",
        })?,
    })
}

impl Tx<'_> {
    /// What is known of the step with this key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn build_record(&self, key: &str) -> Result<Option<BuildRecordRow>, StoreError> {
        let sql = format!("SELECT {RECORD} FROM build_cache WHERE key = ?1");
        self.one("find a build record", &sql, [key], record)
    }

    /// All records, those used longest ago first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn build_records(&self) -> Result<Vec<BuildRecordRow>, StoreError> {
        let sql = format!("SELECT {RECORD} FROM build_cache ORDER BY used_at, key");
        self.rows("list build records", &sql, [], record)
    }

    /// The image that is such but for its times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn build_result(&self, shape: &str) -> Result<Option<String>, StoreError> {
        self.one(
            "find the result of a build",
            "SELECT image_id FROM build_results WHERE shape = ?1",
            [shape],
            |row| Ok(row.get(0)?),
        )
    }

    /// The shared directory with this key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn build_mount(&self, key: &str) -> Result<Option<BuildMountRow>, StoreError> {
        let sql = format!("SELECT {MOUNT} FROM build_mounts WHERE key = ?1");
        self.one("find a build mount", &sql, [key], mount)
    }

    /// All shared directories, also those that are being removed; those used longest ago first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn build_mounts(&self) -> Result<Vec<BuildMountRow>, StoreError> {
        let sql = format!("SELECT {MOUNT} FROM build_mounts ORDER BY used_at, id");
        self.rows("list build mounts", &sql, [], mount)
    }
}

impl WriteTx<'_> {
    /// Records what a step gave, in place of what is known of it; times and uses are those of now.
    ///
    /// # Errors
    /// [`StoreError`]; a layer that is not there is one.
    pub fn set_build_record(&self, record: &BuildRecordRow) -> Result<(), StoreError> {
        self.execute(
            "record a step of a build",
            "INSERT INTO build_cache (key, layer_id, alias, description, notes, created_at, used_at, uses, step)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8)
             ON CONFLICT (key) DO UPDATE SET layer_id = excluded.layer_id, alias = excluded.alias,
                description = excluded.description, notes = excluded.notes,
                created_at = excluded.created_at, used_at = excluded.used_at, uses = uses + 1, step = excluded.step",
            params![
                record.key,
                record.layer.map(|layer| layer.0),
                record.alias,
                record.description,
                record.notes,
                record.created_at,
                record.used_at,
                record.step
            ],
        )?;
        Ok(())
    }

    /// A record was of use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn touch_build_record(&self, key: &str, now: &str) -> Result<(), StoreError> {
        self.execute(
            "note the use of a build record",
            "UPDATE build_cache SET used_at = ?2, uses = uses + 1 WHERE key = ?1",
            [key, now],
        )?;
        Ok(())
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_build_record(&self, key: &str) -> Result<(), StoreError> {
        self.execute(
            "forget a build record",
            "DELETE FROM build_cache WHERE key = ?1",
            [key],
        )?;
        Ok(())
    }

    /// Records of which shape an image is.
    ///
    /// # Errors
    /// [`StoreError`]; an image that is not there is one.
    pub fn set_build_result(&self, shape: &str, image: &str) -> Result<(), StoreError> {
        self.execute(
            "record the result of a build",
            "INSERT INTO build_results (shape, image_id) VALUES (?1, ?2)
             ON CONFLICT (shape) DO UPDATE SET image_id = excluded.image_id",
            [shape, image],
        )?;
        Ok(())
    }

    /// The number of the shared directory with this key, which is recorded if it is new; its use is noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn use_build_mount(
        &self,
        key: &str,
        description: &str,
        now: &str,
    ) -> Result<i64, StoreError> {
        if let Some(known) = self.build_mount(key)? {
            self.execute(
                "note the use of a build mount",
                "UPDATE build_mounts SET used_at = ?2, uses = uses + 1 WHERE id = ?1",
                params![known.id, now],
            )?;
            return Ok(known.id);
        }
        self.insert(
            "record a build mount",
            "INSERT INTO build_mounts (key, description, created_at, used_at, uses)
             VALUES (?1, ?2, ?3, ?3, 1)",
            [key, description, now],
        )
    }

    /// The directory is going to be removed; its key is free.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn release_build_mount(&self, id: i64) -> Result<(), StoreError> {
        self.execute(
            "give up a build mount",
            "UPDATE build_mounts SET key = NULL WHERE id = ?1",
            [id],
        )?;
        Ok(())
    }

    /// Forgets a directory that is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_build_mount(&self, id: i64) -> Result<(), StoreError> {
        self.execute(
            "forget a build mount",
            "DELETE FROM build_mounts WHERE id = ?1",
            [id],
        )?;
        Ok(())
    }
}

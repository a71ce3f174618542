//! Unpacked image layers: a cache, one row and one directory each, shared by images.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::LayerId;

/// Where a layer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    Unpacking,
    Ready,
    Removing,
}

impl LayerState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unpacking => "unpacking",
            Self::Ready => "ready",
            Self::Removing => "removing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Unpacking, Self::Ready, Self::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    pub id: LayerId,
    /// Digest of this layer and everything below it.
    pub chain_id: String,
    /// Digest of the layer's uncompressed tar.
    pub diff_id: String,
    pub parent: Option<LayerId>,
    /// Bytes of the layer's own files.
    pub size: u64,
    pub state: LayerState,
    /// RFC 3339.
    pub created_at: String,
}

const COLUMNS: &str = "id, chain_id, diff_id, parent, size, state, created_at";

fn read(row: &Row<'_>) -> Result<LayerRow, ReadError> {
    let id: i64 = row.get(0)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "layer",
        id: id.to_string(),
        column,
    };
    let size: i64 = row.get(4)?;
    let state: String = row.get(5)?;
    Ok(LayerRow {
        id: LayerId(id),
        chain_id: row.get(1)?,
        diff_id: row.get(2)?,
        parent: row.get::<_, Option<i64>>(3)?.map(LayerId),
        size: u64::try_from(size).map_err(|_| unreadable("size"))?,
        state: LayerState::parse(&state).ok_or_else(|| unreadable("state"))?,
        created_at: row.get(6)?,
    })
}

impl Tx<'_> {
    /// One layer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer(&self, id: LayerId) -> Result<Option<LayerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM layers WHERE id = ?1");
        self.one("find a layer", &sql, [id.0], read)
    }

    /// The layer with these contents on these parents, in any state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer_by_chain(&self, chain_id: &str) -> Result<Option<LayerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM layers WHERE chain_id = ?1");
        self.one("find a layer", &sql, [chain_id], read)
    }

    /// All layers in any state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layers(&self) -> Result<Vec<LayerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM layers ORDER BY id");
        self.rows("list layers", &sql, [], read)
    }

    /// Ready layers that no image and no build record has and no other layer stands on, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unused_layers(&self) -> Result<Vec<LayerRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM layers WHERE state = 'ready'
             AND NOT EXISTS (SELECT 1 FROM image_layers WHERE layer_id = layers.id)
             AND NOT EXISTS (SELECT 1 FROM build_cache WHERE layer_id = layers.id)
             AND NOT EXISTS (SELECT 1 FROM layers AS child WHERE child.parent = layers.id)
             ORDER BY id DESC"
        );
        self.rows("list unused layers", &sql, [], read)
    }

    /// Number of images that have the layer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn images_with_layer(&self, id: LayerId) -> Result<u32, StoreError> {
        Ok(self
            .one(
                "count the images of a layer",
                "SELECT COUNT(DISTINCT image_id) FROM image_layers WHERE layer_id = ?1",
                [id.0],
                |row| Ok(row.get(0)?),
            )?
            .unwrap_or(0))
    }

    /// Number of layers that stand directly on this one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer_children(&self, id: LayerId) -> Result<u32, StoreError> {
        Ok(self
            .one(
                "count the children of a layer",
                "SELECT COUNT(*) FROM layers WHERE parent = ?1",
                [id.0],
                |row| Ok(row.get(0)?),
            )?
            .unwrap_or(0))
    }
}

impl WriteTx<'_> {
    /// Records a layer that is about to be unpacked; its size is not known yet.
    ///
    /// # Errors
    /// [`StoreError`]; a layer with the same chain id is one.
    pub fn insert_layer(
        &self,
        chain_id: &str,
        diff_id: &str,
        parent: Option<LayerId>,
        created_at: &str,
    ) -> Result<LayerId, StoreError> {
        self.insert(
            "record a layer",
            "INSERT INTO layers (chain_id, diff_id, parent, size, state, created_at)
             VALUES (?1, ?2, ?3, 0, 'unpacking', ?4)",
            params![chain_id, diff_id, parent.map(|parent| parent.0), created_at],
        )
        .map(LayerId)
    }

    /// The layer is complete.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_layer_ready(&self, id: LayerId, size: u64) -> Result<(), StoreError> {
        // No file system holds more bytes than an i64 counts.
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.execute(
            "complete a layer",
            "UPDATE layers SET state = 'ready', size = ?2 WHERE id = ?1",
            params![id.0, size],
        )?;
        Ok(())
    }

    /// Makes an unpacked layer visible under what its unpacking found out: its ids, its place and its size in bytes.
    ///
    /// # Errors
    /// [`StoreError`], also when another layer has the chain id.
    pub fn publish_layer(
        &self,
        id: LayerId,
        chain_id: &str,
        diff_id: &str,
        parent: Option<LayerId>,
        size: u64,
    ) -> Result<(), StoreError> {
        // No file system holds more bytes than an i64 counts.
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.execute(
            "publish a layer",
            "UPDATE layers SET state = 'ready', chain_id = ?2, diff_id = ?3, parent = ?4, size = ?5 WHERE id = ?1",
            params![id.0, chain_id, diff_id, parent.map(|parent| parent.0), size],
        )?;
        Ok(())
    }

    /// Moves a layer on in its life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_layer_state(&self, id: LayerId, state: LayerState) -> Result<(), StoreError> {
        self.execute(
            "change the state of a layer",
            "UPDATE layers SET state = ?2 WHERE id = ?1",
            params![id.0, state.as_str()],
        )?;
        Ok(())
    }

    /// Forgets a layer.
    ///
    /// # Errors
    /// [`StoreError`]; an image or layer that refers to it is one.
    pub fn delete_layer(&self, id: LayerId) -> Result<(), StoreError> {
        self.execute("forget a layer", "DELETE FROM layers WHERE id = ?1", [id.0])?;
        Ok(())
    }
}

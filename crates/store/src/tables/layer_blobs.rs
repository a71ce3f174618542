//! What registries have: layers as blobs, images as manifests.
//!
//! A blob's digest is that of its compressed bytes, a layer's diff id that of its tar stream: these rows tie them together.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::LayerId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlobRow {
    /// Where it was seen; empty: it was made here and nobody has it yet.
    pub repository: String,
    /// `sha256:…` of the compressed bytes.
    pub digest: String,
    pub size: u64,
    pub media_type: String,
}

fn read(row: &Row<'_>) -> Result<LayerBlobRow, ReadError> {
    let digest: String = row.get(1)?;
    let size: i64 = row.get(2)?;
    let Ok(size) = u64::try_from(size) else {
        return Err(ReadError::Unreadable {
            table: "layer blob",
            id: digest,
            column: "size",
        });
    };
    Ok(LayerBlobRow {
        repository: row.get(0)?,
        digest,
        size,
        media_type: row.get(3)?,
    })
}

impl Tx<'_> {
    /// The blobs that are known to hold the layer with this diff id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer_blobs(&self, diff_id: &str) -> Result<Vec<LayerBlobRow>, StoreError> {
        self.rows(
            "list the blobs of a layer",
            "SELECT repository, digest, size, media_type FROM layer_blobs WHERE diff_id = ?1
             ORDER BY repository, digest",
            [diff_id],
            read,
        )
    }

    /// Digest of the blob in which a layer's stream is kept, when it came from a registry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn layer_kept_blob(&self, id: LayerId) -> Result<Option<String>, StoreError> {
        Ok(self
            .one(
                "find the blob of a layer",
                "SELECT blob FROM layers WHERE id = ?1",
                [id.0],
                |row| Ok(row.get::<_, Option<String>>(0)?),
            )?
            .flatten())
    }

    /// Media type and bytes of the manifest with which an image came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image_manifest(&self, image: &str) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        self.one(
            "find a manifest",
            "SELECT media_type, manifest FROM image_manifests WHERE image_id = ?1",
            [image],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

impl WriteTx<'_> {
    /// Records that `blob` holds the layer with this diff id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_layer_blob(&self, diff_id: &str, blob: &LayerBlobRow) -> Result<(), StoreError> {
        // No file system holds more bytes than an i64 counts.
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        self.execute(
            "record a blob",
            "INSERT INTO layer_blobs (diff_id, repository, digest, size, media_type) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET size = excluded.size, media_type = excluded.media_type",
            params![diff_id, blob.repository, blob.digest, size, blob.media_type],
        )?;
        Ok(())
    }

    /// A repository turned out not to have the blob any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_layer_blob(
        &self,
        diff_id: &str,
        repository: &str,
        digest: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "forget a blob",
            "DELETE FROM layer_blobs WHERE diff_id = ?1 AND repository = ?2 AND digest = ?3",
            [diff_id, repository, digest],
        )?;
        Ok(())
    }

    /// Records in which blob a layer's stream is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_layer_kept_blob(&self, id: LayerId, digest: &str) -> Result<(), StoreError> {
        self.execute(
            "record the blob of a layer",
            "UPDATE layers SET blob = ?2 WHERE id = ?1",
            params![id.0, digest],
        )?;
        Ok(())
    }

    /// Keeps the manifest with which an image came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_image_manifest(
        &self,
        image: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> Result<(), StoreError> {
        self.execute(
            "record a manifest",
            "INSERT INTO image_manifests (image_id, media_type, manifest) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET media_type = excluded.media_type, manifest = excluded.manifest",
            params![image, media_type, manifest],
        )?;
        Ok(())
    }
}

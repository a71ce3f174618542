//! Images: configurations, the layers each one has, and the names that point at them.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::LayerId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// `sha256:…` of `config`.
    pub id: String,
    /// The image configuration, byte for byte.
    pub config: Vec<u8>,
    /// Bytes of all its layers.
    pub size: u64,
    /// When it came into this store, RFC 3339.
    pub created_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    pub repository: String,
    pub tag: String,
    pub image_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRow {
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    pub image_id: String,
}

const COLUMNS: &str = "id, config, size, created_at";

fn read(row: &Row<'_>) -> Result<ImageRow, ReadError> {
    let id: String = row.get(0)?;
    let size: i64 = row.get(2)?;
    let Ok(size) = u64::try_from(size) else {
        return Err(ReadError::Unreadable {
            table: "image",
            id,
            column: "size",
        });
    };
    Ok(ImageRow {
        id,
        config: row.get(1)?,
        size,
        created_at: row.get(3)?,
    })
}

fn read_tag(row: &Row<'_>) -> Result<TagRow, ReadError> {
    Ok(TagRow {
        repository: row.get(0)?,
        tag: row.get(1)?,
        image_id: row.get(2)?,
    })
}

fn read_digest(row: &Row<'_>) -> Result<DigestRow, ReadError> {
    Ok(DigestRow {
        repository: row.get(0)?,
        digest: row.get(1)?,
        image_id: row.get(2)?,
    })
}

impl Tx<'_> {
    /// One image by its whole id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image(&self, id: &str) -> Result<Option<ImageRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM images WHERE id = ?1");
        self.one("find an image", &sql, [id], read)
    }

    /// All images, newest in this store first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn images(&self) -> Result<Vec<ImageRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM images ORDER BY created_at DESC, id");
        self.rows("list images", &sql, [], read)
    }

    /// Whole ids that begin with `sha256:` and these hex digits; `hex` must be hex digits only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image_ids_by_prefix(&self, hex: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "find images",
            "SELECT id FROM images WHERE id >= 'sha256:' || ?1 AND id < 'sha256:' || ?1 || 'g' ORDER BY id",
            [hex],
            |row| Ok(row.get(0)?),
        )
    }

    /// Layers of an image, bottom first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image_layers(&self, image: &str) -> Result<Vec<LayerId>, StoreError> {
        self.rows(
            "list the layers of an image",
            "SELECT layer_id FROM image_layers WHERE image_id = ?1 ORDER BY position",
            [image],
            |row| Ok(LayerId(row.get(0)?)),
        )
    }

    /// The image that a name points at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tagged_image(&self, repository: &str, tag: &str) -> Result<Option<String>, StoreError> {
        self.one(
            "find a tag",
            "SELECT image_id FROM tags WHERE repository = ?1 AND tag = ?2",
            [repository, tag],
            |row| Ok(row.get(0)?),
        )
    }

    /// All names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tags(&self) -> Result<Vec<TagRow>, StoreError> {
        let sql = "SELECT repository, tag, image_id FROM tags ORDER BY repository, tag";
        self.rows("list tags", sql, [], read_tag)
    }

    /// Names of one image.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tags_of(&self, image: &str) -> Result<Vec<TagRow>, StoreError> {
        let sql = "SELECT repository, tag, image_id FROM tags WHERE image_id = ?1 ORDER BY repository, tag";
        self.rows("list tags", sql, [image], read_tag)
    }

    /// The image with this manifest digest in a repository.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn image_by_digest(
        &self,
        repository: &str,
        digest: &str,
    ) -> Result<Option<String>, StoreError> {
        self.one(
            "find a digest",
            "SELECT image_id FROM image_digests WHERE repository = ?1 AND digest = ?2",
            [repository, digest],
            |row| Ok(row.get(0)?),
        )
    }

    /// Manifest digests of all images.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digests(&self) -> Result<Vec<DigestRow>, StoreError> {
        let sql =
            "SELECT repository, digest, image_id FROM image_digests ORDER BY repository, digest";
        self.rows("list digests", sql, [], read_digest)
    }

    /// Manifest digests of one image.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digests_of(&self, image: &str) -> Result<Vec<DigestRow>, StoreError> {
        let sql = "SELECT repository, digest, image_id FROM image_digests WHERE image_id = ?1
                   ORDER BY repository, digest";
        self.rows("list digests", sql, [image], read_digest)
    }
}

impl WriteTx<'_> {
    /// Records an image and its layers, bottom first; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_image(&self, row: &ImageRow, layers: &[LayerId]) -> Result<(), StoreError> {
        // No file system holds more bytes than an i64 counts.
        let size = i64::try_from(row.size).unwrap_or(i64::MAX);
        let new = self.execute(
            "record an image",
            &format!(
                "INSERT INTO images ({COLUMNS}) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"
            ),
            params![row.id, row.config, size, row.created_at],
        )?;
        if new == 0 {
            return Ok(());
        }
        for (layer, position) in layers.iter().zip(0_i64..) {
            self.execute(
                "record the layers of an image",
                "INSERT INTO image_layers (image_id, position, layer_id) VALUES (?1, ?2, ?3)",
                params![row.id, position, layer.0],
            )?;
        }
        Ok(())
    }

    /// Forgets an image with its names; its layers stay, perhaps unused.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_image(&self, id: &str) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM tags WHERE image_id = ?1",
            "DELETE FROM image_digests WHERE image_id = ?1",
            "DELETE FROM image_layers WHERE image_id = ?1",
            "DELETE FROM images WHERE id = ?1",
        ] {
            self.execute("forget an image", sql, [id])?;
        }
        Ok(())
    }

    /// Points a name at an image; returns the image it pointed at before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_tag(
        &self,
        repository: &str,
        tag: &str,
        image: &str,
    ) -> Result<Option<String>, StoreError> {
        let before = self.tagged_image(repository, tag)?;
        self.execute(
            "set a tag",
            "INSERT INTO tags (repository, tag, image_id) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET image_id = excluded.image_id",
            [repository, tag, image],
        )?;
        Ok(before)
    }

    /// Removes a name; false when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_tag(&self, repository: &str, tag: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM tags WHERE repository = ?1 AND tag = ?2";
        Ok(self.execute("remove a tag", sql, [repository, tag])? > 0)
    }

    /// Records the manifest digest under which a repository has an image.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_digest(
        &self,
        repository: &str,
        digest: &str,
        image: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "set a digest",
            "INSERT INTO image_digests (repository, digest, image_id) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET image_id = excluded.image_id",
            [repository, digest, image],
        )?;
        Ok(())
    }

    /// Removes a manifest digest; false when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_digest(&self, repository: &str, digest: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM image_digests WHERE repository = ?1 AND digest = ?2";
        Ok(self.execute("remove a digest", sql, [repository, digest])? > 0)
    }
}

-- What registries have of our layers and images.

-- Digest of the file `blob` in which the layer's stream is kept as a registry gave it; null: `tar.zst` is kept.
ALTER TABLE layers ADD COLUMN blob TEXT;

-- A repository has the layer with this diff id as this blob; an empty repository: nobody has it yet.
CREATE TABLE layer_blobs (
    diff_id    TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (diff_id, repository, digest)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER layers_forget_blobs AFTER DELETE ON layers
WHEN NOT EXISTS (SELECT 1 FROM layers WHERE diff_id = OLD.diff_id)
BEGIN
    DELETE FROM layer_blobs WHERE diff_id = OLD.diff_id;
END;

-- The manifest with which an image came, byte for byte: pushed again, it keeps its digest.
CREATE TABLE image_manifests (
    image_id   TEXT PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    manifest   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

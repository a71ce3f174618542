-- What builds need not do again. A step's key says everything that it depends on; its result is a layer, or nothing.

CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,
    layer_id    INTEGER REFERENCES layers (id),
    -- Another key of a step that has one already.
    alias       INTEGER NOT NULL,
    description TEXT NOT NULL,
    -- JSON: what a build says again when it uses the record.
    notes       TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    used_at     TEXT NOT NULL,
    uses        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX build_cache_layer ON build_cache (layer_id);

-- Images by what they are but for their times: the same build gives the same image.
CREATE TABLE build_results (
    shape    TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX build_results_image ON build_results (image_id);

-- Directories of RUN --mount=type=cache. One that is being removed has no key any more.
CREATE TABLE build_mounts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT UNIQUE,
    description TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    used_at     TEXT NOT NULL,
    uses        INTEGER NOT NULL
) STRICT;

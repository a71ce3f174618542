-- Where volumes can be put beside the state directory, and how much they may hold.

CREATE TABLE pools (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    -- A directory, a device, or nothing: a file of the engine's own.
    source     TEXT,
    -- Bytes of that file.
    size       INTEGER,
    -- Of the filesystem; nothing where it has none.
    uuid       TEXT,
    labels     TEXT,
    state      TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pools_name ON pools (name) WHERE state != 'removing';

-- `volume_id` refers to no table: a volume's record moves into the trash and out of it while this stays. A volume without
-- a row lies in the state directory and has no limit.
CREATE TABLE volume_storage (
    volume_id    TEXT PRIMARY KEY,
    pool_id      TEXT REFERENCES pools (id),
    bytes        INTEGER,
    inodes       INTEGER,
    soft_bytes   INTEGER,
    -- It was told that the volume holds more than that.
    soft_crossed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_storage_pool ON volume_storage (pool_id);

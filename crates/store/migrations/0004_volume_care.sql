-- What is known of a volume beside what it is, what happened to it, and the volumes that can still be had back.
-- `volume_id` refers to no table: a volume's record moves into the trash and out of it while all this stays.

CREATE TABLE volume_notes (
    volume_id   TEXT PRIMARY KEY,
    protected   INTEGER NOT NULL DEFAULT 0,
    -- JSON: the container it was made for.
    created_by  TEXT,
    used_at     TEXT,
    -- JSON: the container that mounted it last.
    used_by     TEXT,
    bytes       INTEGER,
    files       INTEGER,
    measured_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE volume_events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    volume_id TEXT NOT NULL,
    at        TEXT NOT NULL,
    action    TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;
CREATE INDEX volume_events_volume ON volume_events (volume_id, id);

CREATE TABLE volume_trash (
    volume_id  TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    driver     TEXT NOT NULL,
    options    TEXT,
    labels     TEXT,
    anonymous  INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    trashed_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    reason     TEXT NOT NULL,
    bytes      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_trash_name ON volume_trash (name);

-- Volumes as they were. `volume_id` refers to no table: a volume's record may move while its bytes stay.

CREATE TABLE snapshots (
    id          TEXT PRIMARY KEY,
    volume_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    labels      TEXT,
    reason      TEXT NOT NULL,
    consistency TEXT NOT NULL,
    group_id    TEXT,
    expires_at  TEXT,
    pinned      INTEGER NOT NULL,
    size        INTEGER
) STRICT;
-- A snapshot that is being removed has given its name back already.
CREATE UNIQUE INDEX snapshots_name ON snapshots (volume_id, name) WHERE state != 'removing';

-- Who needs a snapshot to stay.
CREATE TABLE snapshot_leases (
    snapshot_id TEXT NOT NULL REFERENCES snapshots (id),
    holder      TEXT NOT NULL,
    PRIMARY KEY (snapshot_id, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_leases_holder ON snapshot_leases (holder);

-- When snapshots are made by themselves, and how many of them are kept.
CREATE TABLE snapshot_schedules (
    volume_id TEXT PRIMARY KEY,
    policy    TEXT NOT NULL,
    last_run  TEXT
) STRICT, WITHOUT ROWID;

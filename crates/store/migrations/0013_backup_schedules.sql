-- Backups that are made by themselves, by name. What a plan and a state say is their owner's affair.

CREATE TABLE backup_schedules (
    name  TEXT PRIMARY KEY,
    -- JSON: when, what, where to.
    plan  TEXT NOT NULL,
    -- JSON: the run under way, how the last one ended, when the next try is.
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Restore drills that ended. `volume_id` refers to no table: a backup outlives its volume.
CREATE TABLE drills (
    id          TEXT PRIMARY KEY,
    -- The name in the backup, and the volume that had it when the drill ended, if there was one.
    volume      TEXT NOT NULL,
    volume_id   TEXT,
    repository  TEXT NOT NULL,
    backup_id   TEXT NOT NULL,
    -- When the backup was made, and when the drill ended.
    backup_at   TEXT NOT NULL,
    at          TEXT NOT NULL,
    -- Milliseconds.
    took        INTEGER NOT NULL,
    files       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    -- What was run in a container; empty: nothing.
    command     TEXT NOT NULL,
    -- Empty: the volume is proven restorable.
    failure     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX drills_volume ON drills (volume, at);

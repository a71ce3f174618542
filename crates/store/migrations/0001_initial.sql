-- The first schema. Times are RFC 3339 text; json columns hold one JSON object.

-- Operations that are under way, or were when the engine died. `step` is the last step whose effects are recorded.
CREATE TABLE ops (
    id      TEXT PRIMARY KEY,
    number  INTEGER NOT NULL UNIQUE,
    kind    TEXT NOT NULL,
    object  TEXT NOT NULL,
    params  TEXT NOT NULL,
    step    TEXT NOT NULL DEFAULT '',
    started TEXT NOT NULL
) STRICT;

CREATE TABLE volumes (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    driver     TEXT NOT NULL,
    options    TEXT,
    labels     TEXT,
    anonymous  INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    created_at TEXT NOT NULL
) STRICT;
-- A volume that is being removed has given its name back already.
CREATE UNIQUE INDEX volumes_name ON volumes (name) WHERE state != 'removing';

CREATE TABLE leases (
    volume_id   TEXT NOT NULL REFERENCES volumes (id),
    holder      TEXT NOT NULL,
    destination TEXT NOT NULL,
    anonymous   INTEGER NOT NULL,
    PRIMARY KEY (volume_id, holder, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_holder ON leases (holder);

-- Who uses the mount of a volume that its driver has to mount.
CREATE TABLE volume_mounts (
    volume_id TEXT NOT NULL REFERENCES volumes (id),
    holder    TEXT NOT NULL,
    count     INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (volume_id, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_mounts_holder ON volume_mounts (holder);

CREATE TABLE layers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    chain_id   TEXT NOT NULL UNIQUE,
    diff_id    TEXT NOT NULL,
    parent     INTEGER REFERENCES layers (id),
    size       INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('unpacking', 'ready', 'removing')),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX layers_parent ON layers (parent);

CREATE TABLE images (
    id         TEXT PRIMARY KEY,
    config     BLOB NOT NULL,
    size       INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images (id),
    position INTEGER NOT NULL,
    layer_id INTEGER NOT NULL REFERENCES layers (id),
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_layer ON image_layers (layer_id);

CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    image_id   TEXT NOT NULL REFERENCES images (id),
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_image ON tags (image_id);

CREATE TABLE image_digests (
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    image_id   TEXT NOT NULL REFERENCES images (id),
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_digests_image ON image_digests (image_id);

CREATE TABLE containers (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    image_id         TEXT NOT NULL,
    image_ref        TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    config           TEXT NOT NULL,
    host_config      TEXT NOT NULL,
    mounts           TEXT NOT NULL,
    network          TEXT,
    status           TEXT NOT NULL CHECK (status IN ('creating', 'created', 'running', 'paused', 'restarting',
                                                     'exited', 'removing', 'dead')),
    pid              INTEGER NOT NULL,
    exit_code        INTEGER NOT NULL,
    error            TEXT NOT NULL,
    oom_killed       INTEGER NOT NULL,
    started_at       TEXT NOT NULL,
    finished_at      TEXT NOT NULL,
    restart_count    INTEGER NOT NULL,
    manually_stopped INTEGER NOT NULL,
    auto_remove      INTEGER NOT NULL,
    log_path         TEXT NOT NULL
) STRICT;
CREATE INDEX containers_image ON containers (image_id);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

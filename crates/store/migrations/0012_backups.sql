-- Where backups go, by the names that users gave. What opens a repository is in no table but in a file of its own.

CREATE TABLE backup_repositories (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    -- As it may be shown: without a password.
    location      TEXT NOT NULL,
    -- The id that the repository gave itself.
    repository_id TEXT NOT NULL,
    created_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest backup of each volume in each repository. `volume_id` refers to no table: a volume's record moves into the
-- trash and out of it while this stays.
CREATE TABLE volume_backups (
    volume_id    TEXT NOT NULL,
    repository   TEXT NOT NULL REFERENCES backup_repositories (id) ON DELETE CASCADE,
    backup_id    TEXT NOT NULL,
    at           TEXT NOT NULL,
    -- Of the files, and what was added to the repository for them.
    bytes        INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    PRIMARY KEY (volume_id, repository)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_backups_repository ON volume_backups (repository);

-- What a volume plugin was told about its volumes' users. A row is there before the plugin is told of a mount and goes when
-- it has been told of the unmount; with no uses left that is still to be done.
CREATE TABLE plugin_mounts (
    mount_id  TEXT PRIMARY KEY,
    volume_id TEXT NOT NULL REFERENCES volumes (id),
    holder    TEXT NOT NULL,
    uses      INTEGER NOT NULL CHECK (uses >= 0),
    -- Where the plugin put it; not known before it has answered.
    path      TEXT
) STRICT, WITHOUT ROWID;
-- One mount for each holder; those that are given up are none.
CREATE UNIQUE INDEX plugin_mounts_holder ON plugin_mounts (volume_id, holder) WHERE uses > 0;

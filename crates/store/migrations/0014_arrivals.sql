-- Volumes that come from elsewhere: until they are complete, and afterwards, so that who sends one again is recognised.
-- `volume_id` refers to no table: a volume's record moves into the trash and out of it while this stays.
CREATE TABLE arrivals (
    volume_id  TEXT PRIMARY KEY,
    -- What it is a copy of, in the words of where it comes from.
    origin     TEXT NOT NULL,
    -- What came with it, as JSON.
    luggage    TEXT NOT NULL,
    began_at   TEXT NOT NULL,
    -- Nothing: it is not complete, and its row in `volumes` is `creating`.
    arrived_at TEXT
) STRICT, WITHOUT ROWID;

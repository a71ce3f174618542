-- Networks that users made. Who is connected is in the containers' records; `plan` is what the network was given.

CREATE TABLE networks (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    driver     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    labels     TEXT,
    request    TEXT NOT NULL,
    plan       TEXT NOT NULL
) STRICT;
-- A network that is being removed has given its name back already.
CREATE UNIQUE INDEX networks_name ON networks (name) WHERE state != 'removing';

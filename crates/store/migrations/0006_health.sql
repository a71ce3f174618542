-- What a container's health check has found: JSON that only the engine understands. While the container runs this is its
-- status at the last change; the probes in between are in memory.
ALTER TABLE containers ADD COLUMN health TEXT;

-- The key of the step itself, for a record that is found by another name. It is what the history of an image says.
ALTER TABLE build_cache ADD COLUMN step TEXT NOT NULL DEFAULT '';

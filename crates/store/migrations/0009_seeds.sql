-- From which image's directory a volume got its first contents, or its last new ones.
ALTER TABLE volume_notes ADD COLUMN seeded_by TEXT;

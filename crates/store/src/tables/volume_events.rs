//! What happened to each volume, the newest so many events of it.

use crate::db::{Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// Events that are kept of one volume: years of one that is mended, days of one that restarts all the time.
const KEPT: u32 = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeEventRow {
    /// RFC 3339.
    pub at: String,
    /// `create`, `mount`, `import` …
    pub action: String,
    /// By whom, from where, from what to what; for people.
    pub detail: String,
}

impl Tx<'_> {
    /// The events of a volume that are kept, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_events(&self, id: &VolumeId) -> Result<Vec<VolumeEventRow>, StoreError> {
        self.rows(
            "read a volume's history",
            "SELECT at, action, detail FROM volume_events WHERE volume_id = ?1 ORDER BY id",
            [id.as_str()],
            |row| {
                Ok(VolumeEventRow {
                    at: row.get(0)?,
                    action: row.get(1)?,
                    detail: row.get(2)?,
                })
            },
        )
    }
}

impl WriteTx<'_> {
    /// Records an event; the oldest beyond those that are kept goes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_volume_event(
        &self,
        id: &VolumeId,
        at: &str,
        action: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "record what happened to a volume",
            "INSERT INTO volume_events (volume_id, at, action, detail) VALUES (?1, ?2, ?3, ?4)",
            [id.as_str(), at, action, detail],
        )?;
        self.execute(
            "shorten a volume's history",
            "DELETE FROM volume_events WHERE volume_id = ?1 AND id <=
             (SELECT id FROM volume_events WHERE volume_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            rusqlite::params![id.as_str(), KEPT],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::Scratch;

    #[test]
    fn the_history_is_bounded_for_each_volume() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let (busy, quiet) = (VolumeId::random(), VolumeId::random());
        store
            .write(|tx| {
                tx.insert_volume_event(&quiet, "t", "create", "")?;
                for number in 0..KEPT + 5 {
                    tx.insert_volume_event(&busy, "t", "mount", &number.to_string())?;
                }
                Ok::<_, StoreError>(())
            })
            .expect("recorded");
        let (many, one) = store
            .read(|tx| Ok::<_, StoreError>((tx.volume_events(&busy)?, tx.volume_events(&quiet)?)))
            .expect("read");
        assert_eq!(
            (many.len(), many[0].detail.as_str(), one.len()),
            (200, "5", 1)
        );
    }
}

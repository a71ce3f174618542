//! What happened to each volume, the newest so many events of each kind: what happens all the time pushes nothing out that happens
//! once.

use crate::db::{Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// Actions that are counted by themselves, quoted for SQL, and how many of them together are kept of one volume: days of one that
/// restarts all the time, weeks of hourly snapshots.
const USE: (&str, u32) = ("'mount', 'unmount'", 200);
const ROUTINE: (&str, u32) = (
    "'snapshot_scheduled', 'snapshot_expired', 'backup', 'proven', 'drill_failed'",
    200,
);
/// Of everything else: years of a volume that is mended.
const KEPT: u32 = 1000;

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
        let is_one_of = |names: &str| {
            names
                .split(", ")
                .any(|name| name.trim_matches('\'') == action)
        };
        let (which, kept) = match [USE, ROUTINE].into_iter().find(|kind| is_one_of(kind.0)) {
            Some((names, kept)) => (format!("action IN ({names})"), kept),
            None => (format!("action NOT IN ({}, {})", USE.0, ROUTINE.0), KEPT),
        };
        self.execute(
            "shorten a volume's history",
            &format!(
                "DELETE FROM volume_events WHERE volume_id = ?1 AND {which} AND id <=
                 (SELECT id FROM volume_events WHERE volume_id = ?1 AND {which} ORDER BY id DESC LIMIT 1 OFFSET ?2)"
            ),
            rusqlite::params![id.as_str(), kept],
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
                tx.insert_volume_event(&busy, "t", "create", "")?;
                for number in 0..USE.1 + 5 {
                    tx.insert_volume_event(&busy, "t", "mount", &number.to_string())?;
                    tx.insert_volume_event(&busy, "t", "snapshot_scheduled", "")?;
                }
                Ok::<_, StoreError>(())
            })
            .expect("recorded");
        let (many, one) = store
            .read(|tx| Ok::<_, StoreError>((tx.volume_events(&busy)?, tx.volume_events(&quiet)?)))
            .expect("read");
        assert_eq!(
            (many.len(), many[0].action.as_str(), one.len()),
            (401, "create", 1)
        );
        let mut mounts = many.iter().filter(|event| event.action == "mount");
        assert_eq!(mounts.next().map(|event| event.detail.as_str()), Some("5"));
        store
            .write(|tx| {
                for number in 0..KEPT + 5 {
                    tx.insert_volume_event(&quiet, "t", "label", &number.to_string())?;
                }
                Ok::<_, StoreError>(())
            })
            .expect("recorded");
        let many = store.read(|tx| tx.volume_events(&quiet)).expect("read");
        assert_eq!((many.len(), many[0].detail.as_str()), (1000, "5"));
    }
}

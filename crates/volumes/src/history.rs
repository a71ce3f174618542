//! What happened to a volume, and what is noted of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use store::{Measured, StorageRow, VolumeBackupRow, VolumeEventRow, VolumeId, VolumeNotes};

use crate::{Volume, VolumeError, Volumes};

/// A volume, and what one look at the database tells of it.
#[derive(Debug)]
pub struct Overview {
    pub volume: Volume,
    pub notes: VolumeNotes,
    /// Holders.
    pub users: usize,
    /// `None`: the state directory.
    pub pool: Option<String>,
    /// What it may hold.
    pub bytes: Option<u64>,
    /// The newest one that is known of.
    pub backup: Option<VolumeBackupRow>,
}

impl Volumes {
    /// The events of a volume that are kept, oldest first.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn history(&self, name: &str) -> Result<Vec<VolumeEventRow>, VolumeError> {
        let row = self.row(name)?;
        Ok(self.store.read(|tx| tx.volume_events(&row.id))?)
    }

    /// What is noted of one volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn notes(&self, name: &str) -> Result<VolumeNotes, VolumeError> {
        let row = self.row(name)?;
        Ok(self.store.read(|tx| tx.volume_notes(&row.id))?)
    }

    /// The newest backup of a volume in each repository that has any, the newest of all first.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn last_backups(&self, name: &str) -> Result<Vec<VolumeBackupRow>, VolumeError> {
        let row = self.row(name)?;
        Ok(self.store.read(|tx| tx.volume_backups_of(&row.id))?)
    }

    /// All volumes by name, each with what is noted of it and the number of its holders; one look at the database.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn overview(&self) -> Result<Vec<Overview>, VolumeError> {
        let (rows, notes, counts, storage, pools, backups) = self.store.read(|tx| {
            Ok::<_, VolumeError>((
                tx.volumes()?,
                tx.all_volume_notes()?,
                tx.lease_counts()?,
                tx.all_volume_storage()?,
                tx.pools()?,
                tx.volume_backups()?,
            ))
        })?;
        let mut storage: BTreeMap<VolumeId, StorageRow> = storage.into_iter().collect();
        let mut newest: BTreeMap<VolumeId, VolumeBackupRow> = BTreeMap::new();
        for backup in backups {
            newest.entry(backup.volume.clone()).or_insert(backup);
        }
        let pools: BTreeMap<_, _> = pools.into_iter().map(|row| (row.id, row.name)).collect();
        let mut notes: BTreeMap<VolumeId, VolumeNotes> = notes.into_iter().collect();
        let counts: BTreeMap<String, usize> = counts.into_iter().collect();
        Ok(rows
            .into_iter()
            .map(|row| {
                let backup = newest.remove(&row.id);
                let noted = notes.remove(&row.id).unwrap_or_default();
                let holders = counts.get(&row.name).copied().unwrap_or(0);
                let stored = storage.remove(&row.id).unwrap_or_default();
                Overview {
                    volume: self.shown(row),
                    notes: noted,
                    users: holders,
                    pool: stored.pool.and_then(|id| pools.get(&id).cloned()),
                    bytes: stored.bytes,
                    backup,
                }
            })
            .collect())
    }

    /// Measures a volume and keeps the result with its time; `None` when `go_on`, which hears now and then how many entries were
    /// counted, has said no. Nobody waits for the record to be on disk: what a power cut takes is measured again.
    ///
    /// # Errors
    /// As [`Volumes::usage`].
    pub fn measure(
        &self,
        name: &str,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Measured>, VolumeError> {
        let Some((id, size)) = self.tree_size(name, go_on)? else {
            return Ok(None);
        };
        let measured = Measured {
            bytes: size.bytes,
            files: size.entries,
            at: Timestamp::now().to_string(),
        };
        self.store
            .write_soon(|tx| tx.set_volume_measured(&id, &measured))?;
        Ok(Some(measured))
    }
}

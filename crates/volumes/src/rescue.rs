//! Rebuilds the records of volumes from the descriptions beside their data, when the database has been lost.
//!
//! What is described: pools in `pools/<id>/pool.json`, volumes with their limits, schedules and snapshots in
//! `data/<id>/volume.json`, which for volumes in pools is beside their bytes there.
//!
//! Done at a start whose database knows of no volume at all, neither living nor in the trash, and of nothing under way:
//! that is a new state directory, or one that lost its database. All records come back in one transaction. A directory
//! without a readable description is left for [`crate::adopt`].

use std::collections::BTreeSet;

use jiff::Timestamp;
use store::names::is_name;
use store::{PoolId, TrashRow, VolumeId, VolumeRow};

use crate::description::{self, Description};
use crate::pool::Marker;
use crate::{VolumeError, Volumes};

impl Volumes {
    /// A sentence for each volume that was found again.
    pub(crate) fn rescue(&self) -> Result<Vec<String>, VolumeError> {
        let is_new = self.store.read(|tx| {
            Ok::<_, VolumeError>(
                !tx.has_volumes()? && tx.trash()?.is_empty() && tx.ops()?.is_empty(),
            )
        })?;
        if !is_new {
            return Ok(Vec::new());
        }
        let found = self.descriptions()?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        self.record_found(&found)
    }

    /// Gives a record to everything that is described in `data` and has none, living or in the trash; a sentence for
    /// each, and for each directory that has no description.
    ///
    /// # Errors
    /// [`VolumeError::Store`]; a directory that cannot be read.
    pub fn rescue_described(&self) -> Result<Vec<String>, VolumeError> {
        let mut sentences = Vec::new();
        self.recover_pools(&mut sentences)?;
        let known = self.store.read(|tx| {
            let volumes = tx.volumes_in_any_state()?.into_iter().map(|row| row.id);
            let trash = tx.trash()?.into_iter().map(|row| row.volume.id);
            Ok::<_, VolumeError>(volumes.chain(trash).collect::<BTreeSet<_>>())
        })?;
        let mut found = self.descriptions()?;
        found.retain(|description| !known.contains(&description.id));
        let described: BTreeSet<_> = found.iter().map(|description| &description.id).collect();
        let data = self.paths.data();
        for name in crate::recover::names_in(&data)? {
            let id = VolumeId::parse(&name);
            if id.is_some_and(|id| !known.contains(&id) && !described.contains(&id)) {
                sentences.push(format!(
                    "{name} in {} has no description: volume adopt makes a volume of it",
                    data.display()
                ));
            }
        }
        sentences.extend(self.record_found(&found)?);
        self.recover_links(&mut sentences)?;
        self.recover_images(&mut sentences)?;
        Ok(sentences)
    }

    /// Takes down every mount of volumes and pools that is this crate's own; errors are logged.
    pub fn take_all_down(&self) {
        match self.store.read(|tx| tx.volumes()) {
            Ok(rows) => {
                for row in rows {
                    let directory = self.paths.volume(&row.id);
                    if let Err(error) = crate::place::take_mounts_down(&directory) {
                        tracing::warn!(volume = row.name, %error, "a volume stays mounted");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "volumes stay mounted"),
        }
        if let Err(error) = self.detach_pools() {
            tracing::warn!(%error, "a pool stays mounted");
        }
    }

    fn record_found(&self, found: &[Description]) -> Result<Vec<String>, VolumeError> {
        self.store.write(|tx| {
            let now = Timestamp::now().to_string();
            let mut sentences = Vec::new();
            for description in found {
                let mut row = description.row();
                description.record_rest(tx)?;
                tx.insert_volume_event(&row.id, &now, "rescue", "from its description")?;
                if let Some(expires_at) = &description.trashed_until {
                    sentences.push(format!(
                        "volume {} was found again in the trash by its description",
                        row.name
                    ));
                    tx.trash_volume(&TrashRow {
                        volume: row,
                        trashed_at: now.clone(),
                        expires_at: expires_at.clone(),
                        reason: "rescue".to_owned(),
                        bytes: None,
                    })?;
                    continue;
                }
                // A copy of a directory brought a copy of its name along.
                if tx.volume_by_name(&row.name)?.is_some() {
                    row.name = format!("{}-{}", row.name, &row.id.as_str()[..8]);
                }
                sentences.push(format!(
                    "volume {} was found again by its description",
                    row.name
                ));
                tx.insert_volume(&VolumeRow { ..row })?;
            }
            Ok(sentences)
        })
    }

    /// Pools of a database that knows of none. Volumes are looked for when they are up.
    pub(crate) fn rescue_pools(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let is_new = self
            .store
            .read(|tx| Ok::<_, VolumeError>(tx.pools()?.is_empty() && tx.ops()?.is_empty()))?;
        if !is_new {
            return Ok(());
        }
        let markers = self.described_pools()?;
        if markers.is_empty() {
            return Ok(());
        }
        self.store.write(|tx| {
            for marker in markers {
                let is_default = marker.is_default;
                let row = marker.row();
                if tx.pool_by_name(&row.name)?.is_none() {
                    if is_default {
                        tx.set_meta(crate::pool::SETTING, row.id.as_str())?;
                    }
                    sentences.push(format!(
                        "pool {} was found again by its description",
                        row.name
                    ));
                    tx.insert_pool(&row)?;
                }
            }
            Ok(())
        })
    }

    fn described_pools(&self) -> Result<Vec<Marker>, VolumeError> {
        let directory = self.paths.pools();
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let names = crate::recover::names_in(&directory)?;
        Ok(names
            .iter()
            .filter_map(|name| PoolId::parse(name))
            .filter_map(|id| {
                let marker = Marker::read(&self.paths.pool_description(&id))?;
                (marker.id == id && is_name(&marker.name)).then_some(marker)
            })
            .collect())
    }

    fn descriptions(&self) -> Result<Vec<Description>, VolumeError> {
        let data = self.paths.data();
        let mut found = Vec::new();
        let entries = std::fs::read_dir(&data).map_err(VolumeError::io("list", &data))?;
        for entry in entries {
            let entry = entry.map_err(VolumeError::io("list", &data))?;
            let id = entry.file_name().to_str().and_then(VolumeId::parse);
            found.extend(id.and_then(|id| description::read(&self.paths, &id)));
        }
        found.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        Ok(found)
    }
}

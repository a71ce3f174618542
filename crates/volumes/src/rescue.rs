//! Rebuilds the records of volumes from the descriptions beside their data, when the database has been lost.
//!
//! Done at a start whose database knows of no volume at all, neither living nor in the trash, and of nothing under way:
//! that is a new state directory, or one that lost its database. All records come back in one transaction. A directory
//! without a readable description is left for [`crate::adopt`].

use jiff::Timestamp;
use store::{TrashRow, VolumeId, VolumeRow};

use crate::description::{self, Description};
use crate::{VolumeError, Volumes};

impl Volumes {
    /// A sentence for each volume that was found again.
    pub(crate) fn rescue(&self) -> Result<Vec<String>, VolumeError> {
        let is_new = self.store.read(|tx| {
            Ok::<_, VolumeError>(
                tx.volumes_in_any_state()?.is_empty()
                    && tx.trash()?.is_empty()
                    && tx.ops()?.is_empty(),
            )
        })?;
        if !is_new {
            return Ok(Vec::new());
        }
        let found = self.descriptions()?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        self.store.write(|tx| {
            let now = Timestamp::now().to_string();
            let mut sentences = Vec::new();
            for description in &found {
                let mut row = description.row();
                if description.protected {
                    tx.set_volume_protected(&row.id, true)?;
                }
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

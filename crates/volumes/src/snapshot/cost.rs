//! What a copy is going to cost, judged before anything is made by what will be done: where it goes to counts as much as where
//! it comes from.

use std::path::PathBuf;

use store::{VolumeId, VolumeRow};

use super::{CloneVolume, SnapshotError};
use crate::Volumes;
use crate::driver::{Limits, Sharing};

/// What a copy of a volume is going to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub sharing: Sharing,
    /// What will be written, if that is every byte.
    pub bytes: Option<u64>,
}

impl Volumes {
    /// What a snapshot of the volume, or a restore of one of its snapshots, costs. Walks the tree if that is every byte.
    ///
    /// # Errors
    /// [`SnapshotError::Elsewhere`], and those of [`Volumes::snapshot`].
    pub fn copy_cost(&self, volume: &str, snapshot: Option<&str>) -> Result<Cost, SnapshotError> {
        let row = self.row(volume)?;
        let tree = self.source_tree(&row, snapshot)?;
        let sharing = self.sharing_of(&row)?;
        self.cost(&row, tree, sharing)
    }

    /// What [`Volumes::clone_volume`] costs. Walks the tree if that is every byte.
    ///
    /// # Errors
    /// [`SnapshotError::Elsewhere`], and those of naming the snapshot and the pool.
    pub fn clone_cost(&self, request: &CloneVolume) -> Result<Cost, SnapshotError> {
        let row = self.row(&request.source)?;
        let tree = self.source_tree(&row, request.snapshot.as_deref())?;
        let in_place = self.sharing_of(&row)?;
        let storage = self.store.read(|tx| tx.volume_storage(&row.id))?;
        let pool = self.pool_of_clone(request)?;
        let moved = pool.as_ref().is_some_and(|pool| *pool != storage.pool);
        // The present is copied where it is as it is; anything else by the limits that the new volume will have.
        let sharing = if moved || request.snapshot.is_some() {
            let limits: Limits = crate::resize::limits(&storage);
            let lies_in = pool.unwrap_or(storage.pool);
            // Any volume's will do: it is there that it is tried.
            let directory = self
                .paths
                .volume_home(&VolumeId::random(), lies_in.as_ref());
            let around = directory.parent().unwrap_or(&directory);
            let driver = self.tree_driver(&row.name, &row.driver)?;
            driver.sharing_with(&tree, around, limits, moved)?
        } else {
            in_place
        };
        self.cost(&row, tree, sharing)
    }

    fn source_tree(
        &self,
        row: &VolumeRow,
        snapshot: Option<&str>,
    ) -> Result<PathBuf, SnapshotError> {
        Ok(match snapshot {
            Some(name) => self
                .paths
                .snapshot(&row.id, &self.snapshot_row(row, name)?.id),
            None => self.paths.volume_content(&row.id),
        })
    }

    fn cost(
        &self,
        row: &VolumeRow,
        tree: PathBuf,
        sharing: Sharing,
    ) -> Result<Cost, SnapshotError> {
        let bytes = match sharing {
            Sharing::Copy => {
                self.expose(row, &tree)?;
                let size = sys::dir::tree_size(&tree);
                Some(size.map_err(SnapshotError::io("measure", tree))?.bytes)
            }
            Sharing::Instant | Sharing::Shared => None,
        };
        Ok(Cost { sharing, bytes })
    }
}

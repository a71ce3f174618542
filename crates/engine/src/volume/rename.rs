//! `rename`: another name for a volume, in everything that names it.
//!
//! The records of containers that have it, running ones too, and the plans of backups change in the transaction of the
//! rename. What happened keeps the name of its time: history, events, and backups that were made before.

use store::{StoreError, WriteTx};
use volumes::Volume;

use crate::containers::ContainerError;
use crate::containers::mounts::name_as_present;
use crate::engine::Engine;
use crate::schedules::name_in_plans;

impl Engine {
    /// Renames a volume.
    ///
    /// # Errors
    /// As [`volumes::Volumes::rename`].
    pub fn rename_volume(&self, from: &str, to: &str) -> Result<Volume, ContainerError> {
        let containers = &self.containers;
        let mut holders = self.volumes.holders(from)?;
        holders.sort();
        // A start or removal that is under way works with the old name to its end.
        let live: Vec<_> = holders.iter().map(|id| containers.live(id)).collect();
        let _verbs: Vec<_> = live
            .iter()
            .map(|live| {
                let verb = live.verb.lock();
                let teardown = live.teardown.lock();
                (verb, teardown)
            })
            .collect();
        let Some(id) = self.volumes.get(from)?.id else {
            // Only its plugin knows it, and that cannot rename.
            return Ok(self.volumes.rename(from, to, &|_| Ok(()))?);
        };
        let follow = |tx: &WriteTx<'_>| -> Result<(), StoreError> {
            // Not only those that hold it: one whose volume was away for a while leases it again when it starts.
            for mut row in tx.containers_naming(id.as_str())? {
                if name_as_present(tx, &self.paths, &mut row)? {
                    tx.update_container(&row)?;
                }
            }
            name_in_plans(tx, from, to)
        };
        Ok(self.volumes.rename(from, to, &follow)?)
    }
}

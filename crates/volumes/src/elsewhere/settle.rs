//! `settle`: plugins are told of the mounts that are over and of which they do not know yet, because they did not answer,
//! or because the engine died in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::TryLockError;
use std::sync::mpsc::Receiver;

use store::PluginMountRow;

use crate::mount::OWN;
use crate::{VolumeError, Volumes};

impl Volumes {
    /// Plugins may be called from now on; before it, while the engine recovers, everything that needs one fails at once.
    pub fn admit_plugins(&self) {
        self.plugins.admit();
        self.owed.ring();
    }

    /// Rings when there may be something to [`Volumes::settle`]; there is one listener, the last one.
    pub fn on_owed(&self) -> Receiver<()> {
        self.owed.listen()
    }

    /// Tells every plugin what it is to be told; how many mounts are still to be told then.
    ///
    /// # Errors
    /// [`VolumeError::Store`]. A plugin that does not answer is asked once, and is no error.
    pub fn settle(&self) -> Result<usize, VolumeError> {
        let mut absent = BTreeSet::new();
        let mut left = 0;
        for mount in self.owed_mounts()? {
            if !self.settle_one(&mount, &mut absent)? {
                left += 1;
            }
        }
        Ok(left)
    }

    /// Uses of those who are not among `holders` are over: they ended while nobody was there to notice.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn end_mounts_of_others(&self, holders: &BTreeSet<String>) -> Result<(), VolumeError> {
        let is_over = |holder: &str| !holders.contains(holder);
        let ended = self.store.write(|tx| {
            for mount in tx.plugin_mounts()? {
                if is_over(&mount.holder) {
                    tx.set_plugin_mount_uses(&mount.mount_id, 0)?;
                }
            }
            let ended: Vec<_> = tx
                .mount_counts()?
                .into_iter()
                .filter(|count| is_over(&count.holder))
                .collect();
            for count in &ended {
                tx.drop_mounts_of(&count.volume, &count.holder)?;
            }
            Ok::<_, VolumeError>(ended)
        })?;
        let volumes: Vec<_> = ended.into_iter().map(|count| count.volume).collect();
        if let Err(error) = self.take_down_unused(&volumes) {
            tracing::warn!(%error, "a volume stays mounted");
        }
        Ok(())
    }

    /// What a crash cut short is over: uses of this crate's own, and mounts whose plugin had not answered.
    pub(crate) fn recover_plugin_mounts(&self) -> Result<(), VolumeError> {
        self.store.write(|tx| {
            for mount in tx.plugin_mounts()? {
                if mount.holder.starts_with(OWN) || mount.path.is_none() {
                    tx.set_plugin_mount_uses(&mount.mount_id, 0)?;
                }
            }
            Ok(())
        })
    }

    /// Ends all uses that a holder has of plugins' volumes.
    pub(crate) fn release_elsewhere(&self, holder: &str) -> Result<(), VolumeError> {
        let mounts: Vec<_> = self
            .store
            .read(|tx| tx.plugin_mounts())?
            .into_iter()
            .filter(|mount| mount.holder == holder)
            .collect();
        if mounts.is_empty() {
            return Ok(());
        }
        self.store.write(|tx| {
            mounts
                .iter()
                .try_for_each(|mount| tx.set_plugin_mount_uses(&mount.mount_id, 0))
        })?;
        let mut absent = BTreeSet::new();
        let mut is_settled = true;
        for mount in &mounts {
            is_settled &= self.settle_one(mount, &mut absent)?;
        }
        if !is_settled {
            self.owed.ring();
        }
        Ok(())
    }

    /// How many mounts each plugin is still to be told of.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn owed(&self) -> Result<BTreeMap<String, usize>, VolumeError> {
        let mut owed = BTreeMap::new();
        for mount in self.owed_mounts()? {
            if let Some(row) = self.store.read(|tx| tx.volume(&mount.volume))? {
                *owed.entry(row.driver).or_default() += 1;
            }
        }
        Ok(owed)
    }

    fn owed_mounts(&self) -> Result<Vec<PluginMountRow>, VolumeError> {
        let mut mounts = self.store.read(|tx| tx.plugin_mounts())?;
        mounts.retain(|mount| mount.uses == 0);
        Ok(mounts)
    }

    /// Whether nothing is left to be told. `absent` are the plugins that do not answer.
    fn settle_one(
        &self,
        mount: &PluginMountRow,
        absent: &mut BTreeSet<String>,
    ) -> Result<bool, VolumeError> {
        let Some(row) = self.store.read(|tx| tx.volume(&mount.volume))? else {
            return Ok(true);
        };
        if absent.contains(&row.driver) {
            return Ok(false);
        }
        let Some(plugin) = self.plugin(&row.driver) else {
            return Ok(true);
        };
        let lock = self.name_lock(&row.name);
        // Whoever holds it may wait for that very plugin.
        let _held = match lock.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        let is_owed = self
            .store
            .read(|tx| tx.plugin_mounts_of(&row.id))?
            .iter()
            .any(|now| now.mount_id == mount.mount_id && now.uses == 0);
        if !is_owed {
            return Ok(true);
        }
        match self.tell(&row, &plugin, mount) {
            Ok(()) => {}
            Err(error @ VolumeError::Store(_)) => return Err(error),
            Err(error) => {
                tracing::debug!(volume = row.name, %error, "unmount");
            }
        }
        let is_told = !self
            .store
            .read(|tx| tx.plugin_mounts_of(&row.id))?
            .iter()
            .any(|now| now.mount_id == mount.mount_id);
        if !is_told {
            absent.insert(row.driver);
        }
        Ok(is_told)
    }
}

//! A plugin's part in [`crate::mount`]: it is told of each user, once, by an id that belongs to that use alone.
//!
//! Steps of a first use, whose row is the journal:
//! 1. the row is there, with the id
//! 2. `ask`: the plugin mounts
//! 3. the row says where
//!
//! and of the end of the last one:
//! 1. the row has no uses left
//! 2. `tell`: the plugin unmounts
//! 3. the row goes
//!
//! A crash, or silence of the plugin, leaves a row without a path or without uses: what [`super::settle`] tells the plugin
//! later. As in Docker an unmount that the plugin refuses is one all the same.

use std::path::PathBuf;

use store::names::anonymous_volume_name;
use store::{PluginMountRow, StoreError, VolumeRow};
use volume_plugins::{Plugin, PluginError};

use crate::driver::DriverError;
use crate::{VolumeError, Volumes};

impl Volumes {
    /// One more use for `holder`. The caller holds the name's lock.
    pub(crate) fn attach_elsewhere(
        &self,
        row: &VolumeRow,
        plugin: &Plugin,
        holder: &str,
    ) -> Result<PathBuf, VolumeError> {
        if let Some(mount) = self.mount_of(row, holder)?
            && let Some(path) = mount.path
        {
            self.store
                .write(|tx| tx.set_plugin_mount_uses(&mount.mount_id, mount.uses + 1))?;
            return Ok(path.into());
        }
        let id = anonymous_volume_name();
        self.store
            .write(|tx| tx.insert_plugin_mount(&id, &row.id, holder))?;
        point("ask")?;
        let mounted = plugin.mount(&row.name, &id);
        point("asked")?;
        match mounted {
            Ok(path) => {
                let text = path.to_string_lossy();
                self.store
                    .write(|tx| tx.set_plugin_mount_path(&id, &text))?;
                Ok(path)
            }
            Err(reason) => {
                let is_settled = reason.is_answer() || reason.is_unseen();
                self.store.write(|tx| {
                    if is_settled {
                        tx.delete_plugin_mount(&id)
                    } else {
                        tx.set_plugin_mount_uses(&id, 0)
                    }
                })?;
                if !is_settled {
                    self.owed.ring();
                }
                Err(VolumeError::Mount {
                    path: PathBuf::new(),
                    reason: DriverError::Plugin(Box::new(reason)),
                })
            }
        }
    }

    /// One use less; none of this holder's left is fine. The caller holds the name's lock.
    pub(crate) fn detach_elsewhere(
        &self,
        row: &VolumeRow,
        plugin: &Plugin,
        holder: &str,
    ) -> Result<(), VolumeError> {
        let Some(mount) = self.mount_of(row, holder)? else {
            return Ok(());
        };
        let left = mount.uses - 1;
        self.store
            .write(|tx| tx.set_plugin_mount_uses(&mount.mount_id, left))?;
        if left > 0 {
            return Ok(());
        }
        let told = self.tell(row, plugin, &mount);
        if told.is_err() {
            self.owed.ring();
        }
        told
    }

    /// Sets the number of uses; a plugin that is to be told is told later.
    pub(crate) fn recount_elsewhere(
        &self,
        row: &VolumeRow,
        holder: &str,
        count: u32,
    ) -> Result<(), VolumeError> {
        if let Some(mount) = self.mount_of(row, holder)? {
            self.store
                .write(|tx| tx.set_plugin_mount_uses(&mount.mount_id, count))?;
            self.owed.ring();
        }
        Ok(())
    }

    /// Tells the plugin that a mount is over. The caller holds the name's lock.
    pub(crate) fn tell(
        &self,
        row: &VolumeRow,
        plugin: &Plugin,
        mount: &PluginMountRow,
    ) -> Result<(), VolumeError> {
        point("tell")?;
        let told = plugin.unmount(&row.name, &mount.mount_id);
        point("told")?;
        let failed = |reason| VolumeError::Unmount {
            path: mount.path.clone().unwrap_or_default().into(),
            reason: DriverError::Plugin(Box::new(reason)),
        };
        match told {
            // It is told when the engine has started.
            Err(PluginError::HeldOff { .. }) => Ok(()),
            Err(reason) if !reason.is_answer() => Err(failed(reason)),
            answered => {
                self.store
                    .write(|tx| tx.delete_plugin_mount(&mount.mount_id))?;
                answered.map_err(failed)
            }
        }
    }

    /// Where a plugin has the volume for one of those who use it now.
    pub(crate) fn mounted_at(&self, row: &VolumeRow) -> Result<PathBuf, VolumeError> {
        self.store
            .read(|tx| tx.plugin_mounts_of(&row.id))?
            .into_iter()
            .filter(|mount| mount.uses > 0)
            .find_map(|mount| mount.path)
            .map(PathBuf::from)
            .ok_or_else(|| VolumeError::NotMounted {
                name: row.name.clone(),
                driver: row.driver.clone(),
            })
    }

    /// Where `holder` has a plugin's volume now; `None` also for volumes that are kept here.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn mountpoint_for(&self, name: &str, holder: &str) -> Result<Option<PathBuf>, VolumeError> {
        let Some(row) = self.store.read(|tx| tx.volume_by_name(name))? else {
            return Ok(None);
        };
        Ok(self
            .mount_of(&row, holder)?
            .and_then(|mount| mount.path)
            .map(PathBuf::from))
    }

    fn mount_of(
        &self,
        row: &VolumeRow,
        holder: &str,
    ) -> Result<Option<PluginMountRow>, VolumeError> {
        Ok(self
            .store
            .read(|tx| tx.plugin_mounts_of(&row.id))?
            .into_iter()
            .find(|mount| mount.holder == holder && mount.uses > 0))
    }
}

/// A place where tests fail or kill.
fn point(step: &str) -> Result<(), VolumeError> {
    let step = format!("plugin-mount:{step}");
    sys::fault::try_step(&step)
        .map_err(|source| VolumeError::Store(StoreError::Step { step, source }))
}

/// All of them.
pub(crate) fn points() -> Vec<String> {
    ["ask", "asked", "tell", "told"]
        .map(|step| format!("plugin-mount:{step}"))
        .into()
}

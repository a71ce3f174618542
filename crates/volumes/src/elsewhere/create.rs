//! A plugin's part in [`crate::create`]: the volume is made there, and is there still when its name is used again.

use store::VolumeRow;
use volume_plugins::{Patience, PluginError};

use crate::create::Create;
use crate::{VolumeError, Volumes};

impl Volumes {
    /// Whether the plugin still has a recorded volume. One that it lost and that nobody needs is forgotten, so that it
    /// can be made again.
    pub(crate) fn is_still_there(&self, row: &VolumeRow) -> Result<bool, VolumeError> {
        let Some(plugin) = self.plugin(&row.driver) else {
            return Ok(true);
        };
        match plugin.look_up(&row.name, Patience::Known) {
            Ok(Some(_)) => Ok(true),
            Ok(None) if self.store.read(|tx| tx.lease_holders(&row.id))?.is_empty() => {
                self.forget_record(row)?;
                Ok(false)
            }
            Ok(None) => Err(VolumeError::Vanished {
                name: row.name.clone(),
                driver: row.driver.clone(),
            }),
            Err(reason) => Err(VolumeError::Reference {
                name: row.name.clone(),
                driver: row.driver.clone(),
                reason: Box::new(reason),
            }),
        }
    }

    /// Records a volume that a plugin has. The caller holds the name's lock and knows that no record has the name.
    pub(crate) fn record_probed(&self, name: &str) -> Result<Option<VolumeRow>, VolumeError> {
        let Some((plugin, _)) = self.probe(name) else {
            return Ok(None);
        };
        let create = Create::found(name, plugin.name());
        store::journal::execute(&self.store, &create, &self.context())?;
        self.row(name).map(Some)
    }

    /// The complete volume called `name`, recorded now if only its plugin knew it. The caller holds the name's lock.
    pub(crate) fn row_or_found(&self, name: &str) -> Result<VolumeRow, VolumeError> {
        match self.row(name) {
            Err(VolumeError::NotFound(_)) => self
                .record_probed(name)?
                .ok_or_else(|| VolumeError::NotFound(name.to_owned())),
            other => other,
        }
    }
}

/// Makes the volume at the plugin unless it is there.
pub(crate) fn provide(
    plugins: &volume_plugins::Plugins,
    create: &Create,
) -> Result<(), VolumeError> {
    let plugin = plugins.get(&create.driver);
    let provided = match plugin.look_up(&create.name, Patience::IfFound) {
        Ok(Some(_)) => Ok(()),
        // Some know no Get.
        Ok(None) | Err(PluginError::Nonsense { .. }) => {
            plugin.create(&create.name, &create.options)
        }
        Err(error) => Err(error),
    };
    provided.map_err(|reason| VolumeError::Plugin {
        verb: "create",
        name: create.name.clone(),
        reason: Box::new(reason),
    })
}

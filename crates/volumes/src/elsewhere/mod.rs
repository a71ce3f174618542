//! Volumes whose bytes a plugin keeps.
//!
//! A driver of [`crate::driver`] keeps bytes here, in `data/<id>`. Every other name of a driver is that of a plugin, whether
//! or not it is there. Of its volumes there are here only the record, the description beside where data would be, and in a
//! table what the plugin was told about their users; no link, because there is nothing to find.
//!
//! * [`create`] makes them, or records one that the plugin has already;
//! * [`mount`] tells the plugin who uses one, [`settle`] what it could not be told at once;
//! * [`survey`] shows them, those without a record among them;
//! * [`withdraw`] removes them.
//!
//! What the plugin has and what is recorded here can differ: it is asked each time, and what it says decides what is shown;
//! but a record goes only when somebody removes the volume.
//!
//! Of the verbs on volumes those work that need files: export, import, chown, copying, first contents. There are no
//! snapshots, no trash, no rename and no measure: these need bytes that are ours.

use std::sync::Arc;

use volume_plugins::{Plugin, Plugins, Seen};

use crate::driver::Scope;
use crate::{VolumeError, Volumes};

pub(crate) mod create;
pub(crate) mod mount;
pub(crate) mod settle;
pub(crate) mod survey;
pub(crate) mod withdraw;

impl Volumes {
    /// The plugins of this host.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Whether volumes of this driver are a plugin's.
    pub fn is_elsewhere(&self, driver: &str) -> bool {
        self.drivers.find(driver).is_none()
    }

    /// The plugin that keeps volumes of this driver.
    pub(crate) fn plugin(&self, driver: &str) -> Option<Arc<Plugin>> {
        self.is_elsewhere(driver).then(|| self.plugins.get(driver))
    }

    /// Refuses what needs bytes that are ours.
    pub(crate) fn must_be_here(
        &self,
        name: &str,
        driver: &str,
        what: &'static str,
    ) -> Result<(), VolumeError> {
        if self.is_elsewhere(driver) {
            return Err(VolumeError::Elsewhere {
                name: name.to_owned(),
                driver: driver.to_owned(),
                what,
            });
        }
        Ok(())
    }

    /// Which plugin has a volume that is not recorded; the first by name. Who does not answer soon has none.
    pub(crate) fn probe(&self, name: &str) -> Option<(Arc<Plugin>, Seen)> {
        let (sender, answers) = std::sync::mpsc::channel();
        for (index, plugin) in self.plugins.found().into_iter().enumerate() {
            if plugin.is_silent(volume_plugins::SOON) {
                tracing::warn!(
                    plugin = plugin.name(),
                    volume = name,
                    "a plugin that does not answer is not asked for a volume"
                );
                continue;
            }
            let (sender, name) = (sender.clone(), name.to_owned());
            let spawned = std::thread::Builder::new()
                .name("plugin-probe".to_owned())
                .stack_size(256 << 10)
                .spawn(move || {
                    let seen = plugin.look_up(&name, volume_plugins::Patience::Never);
                    // Who asked may have gone.
                    drop(sender.send((index, plugin, seen)));
                });
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread to ask a plugin");
            }
        }
        drop(sender);
        let until = std::time::Instant::now() + volume_plugins::SOON;
        let mut found = Vec::new();
        while let Ok((index, plugin, seen)) =
            answers.recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
        {
            match seen {
                Ok(seen) => found.extend(seen.map(|seen| (index, plugin, seen))),
                Err(error) => tracing::debug!(plugin = plugin.name(), %error, "probe"),
            }
        }
        found.sort_by_key(|(index, ..)| *index);
        found
            .into_iter()
            .next()
            .map(|(_, plugin, seen)| (plugin, seen))
    }
}

impl From<volume_plugins::Scope> for Scope {
    fn from(scope: volume_plugins::Scope) -> Self {
        match scope {
            volume_plugins::Scope::Local => Self::Local,
            volume_plugins::Scope::Global => Self::Global,
        }
    }
}

//! `survey` and `inspect`: volumes as they are now, which for a plugin's means asking it.
//!
//! A list never waits long for anybody: plugins are asked at once and together, and what one does not say soon is taken
//! from its last answer and from the records, with a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use volume_plugins::{Listing, Patience, Plugin, PluginError, SOON, Seen};

use crate::{Volume, VolumeError, Volumes};

/// All volumes, and who was not asked in vain.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// By name.
    pub volumes: Vec<Volume>,
    /// One sentence for each plugin that did not answer.
    pub warnings: Vec<String>,
}

/// One volume, and what its plugin tells of it beside.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub volume: Volume,
    pub status: Option<Map<String, Value>>,
}

impl Volumes {
    /// One volume as it is now.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], also when the plugin says so; [`VolumeError::Unchecked`] when it says nothing.
    pub fn inspect(&self, name: &str) -> Result<Inspected, VolumeError> {
        let volume = match self.get(name) {
            Ok(volume) => volume,
            Err(VolumeError::NotFound(_)) => {
                let (plugin, seen) = self
                    .probe(name)
                    .ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
                return complete(unrecorded(&plugin, &seen), &plugin, seen);
            }
            Err(error) => return Err(error),
        };
        let Some(plugin) = self.plugin(&volume.driver) else {
            return Ok(Inspected {
                volume,
                status: None,
            });
        };
        match plugin.look_up(name, Patience::Never) {
            Ok(Some(seen)) => complete(volume, &plugin, seen),
            Ok(None) => Err(VolumeError::NotFound(name.to_owned())),
            Err(reason) => Err(unchecked(name, &plugin, reason)),
        }
    }

    /// All volumes as they are now.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn survey(&self) -> Result<Survey, VolumeError> {
        // Before the plugins are asked: what is made meanwhile is in neither list, rather than lost.
        let recorded = self.list()?;
        let mut plugins: BTreeMap<String, Arc<Plugin>> = self
            .plugins
            .found()
            .into_iter()
            .filter(|plugin| self.is_elsewhere(plugin.name()))
            .map(|plugin| (plugin.name().to_owned(), plugin))
            .collect();
        for volume in &recorded {
            if !plugins.contains_key(&volume.driver)
                && let Some(plugin) = self.plugin(&volume.driver)
            {
                plugins.insert(volume.driver.clone(), plugin);
            }
        }
        if plugins.is_empty() {
            return Ok(Survey {
                volumes: recorded,
                warnings: Vec::new(),
            });
        }
        Ok(merged(recorded, &ask(&plugins)))
    }
}

type Answers<'a> = Vec<(&'a Arc<Plugin>, Listing)>;

fn ask(plugins: &BTreeMap<String, Arc<Plugin>>) -> Answers<'_> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = plugins
            .values()
            .map(|plugin| (plugin, scope.spawn(|| plugin.list_soon(SOON))))
            .collect();
        asked
            .into_iter()
            .map(|(plugin, listing)| {
                let listing = listing.join().expect("asking does not panic");
                (plugin, listing)
            })
            .collect()
    })
}

fn merged(recorded: Vec<Volume>, answers: &Answers<'_>) -> Survey {
    let mut survey = Survey::default();
    let mut seen: BTreeMap<(&str, &str), &Seen> = BTreeMap::new();
    let mut sure = BTreeSet::new();
    for (plugin, listing) in answers {
        match &listing.error {
            // Not a volume plugin, and nobody thinks so.
            Some(PluginError::NotImplemented { .. })
                if !recorded.iter().any(|volume| volume.driver == plugin.name()) =>
            {
                continue;
            }
            Some(error) => survey
                .warnings
                .push(format!("list {}: {error}", plugin.name())),
            None => {
                sure.insert(plugin.name());
            }
        }
        for one in listing.volumes.iter() {
            seen.insert((plugin.name(), &one.name), one);
        }
    }
    let names: BTreeSet<String> = recorded.iter().map(|volume| volume.name.clone()).collect();
    for mut volume in recorded {
        match seen.get(&(volume.driver.as_str(), volume.name.as_str())) {
            Some(seen) => volume.mountpoint = seen.mountpoint.clone().unwrap_or_default(),
            // The plugin has lost it.
            None if sure.contains(volume.driver.as_str()) => continue,
            None => {}
        }
        survey.volumes.push(volume);
    }
    let mut shown = BTreeSet::new();
    for (plugin, listing) in answers {
        for one in listing.volumes.iter() {
            // The one of that name that is recorded, or that another plugin told of first, is the one that is used.
            if !names.contains(&one.name) && shown.insert(&one.name) {
                survey.volumes.push(unrecorded(plugin, one));
            }
        }
    }
    survey.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    survey
}

/// A volume that only its plugin knows.
fn unrecorded(plugin: &Plugin, seen: &Seen) -> Volume {
    Volume {
        id: None,
        name: seen.name.clone(),
        driver: plugin.name().to_owned(),
        options: None,
        labels: None,
        created_at: created_at(seen).unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned()),
        mountpoint: seen.mountpoint.clone().unwrap_or_default(),
        scope: plugin.scope().into(),
        anonymous: false,
    }
}

fn complete(mut volume: Volume, plugin: &Plugin, seen: Seen) -> Result<Inspected, VolumeError> {
    volume.mountpoint = match &seen.mountpoint {
        Some(path) => path.clone(),
        None => plugin
            .path(&volume.name)
            .map_err(|reason| unchecked(&volume.name, plugin, reason))?
            .unwrap_or_else(PathBuf::new),
    };
    if let Some(created_at) = created_at(&seen) {
        volume.created_at = created_at;
    }
    volume.scope = plugin.scope().into();
    Ok(Inspected {
        volume,
        status: seen.status,
    })
}

/// Whole seconds, as for all volumes; nothing for what is no time.
fn created_at(seen: &Seen) -> Option<String> {
    let time: Timestamp = seen.created_at.as_ref()?.parse().ok()?;
    Timestamp::from_second(time.as_second())
        .ok()
        .map(|time| time.to_string())
}

fn unchecked(name: &str, plugin: &Plugin, reason: PluginError) -> VolumeError {
    VolumeError::Unchecked {
        name: name.to_owned(),
        driver: plugin.name().to_owned(),
        reason: Box::new(reason),
    }
}

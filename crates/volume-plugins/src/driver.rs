//! The calls of a volume driver, and what of their answers is believed.
//!
//! A mount point is an absolute path without `..` that is not the root; a name has no control characters. A volume whose
//! name is none is not listed, a mount point that is none is no answer.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plugin::{Patience, Plugin};
use crate::{PluginError, held};

pub(crate) const CAPABILITIES: &str = "VolumeDriver.Capabilities";
pub(crate) const LIST: &str = "VolumeDriver.List";
const CREATE: &str = "VolumeDriver.Create";
const REMOVE: &str = "VolumeDriver.Remove";
const MOUNT: &str = "VolumeDriver.Mount";
const UNMOUNT: &str = "VolumeDriver.Unmount";
const PATH: &str = "VolumeDriver.Path";
const GET: &str = "VolumeDriver.Get";

/// Bytes of a volume's name.
const LONGEST_NAME: usize = 255;

/// Where a plugin's volumes exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// On this host.
    #[default]
    Local,
    /// The same one on every host.
    Global,
}

/// A volume as its plugin describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub mountpoint: Option<PathBuf>,
    /// As the plugin writes it.
    pub created_at: Option<String>,
    /// Whatever else the plugin tells.
    pub status: Option<Map<String, Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create<'a> {
    name: &'a str,
    opts: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Mounting<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Serialize)]
struct Everything {}

/// Nothing but the refusal that it might be.
#[derive(Deserialize)]
struct Done {}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(default)]
    mountpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct CapabilitiesAnswer {
    capabilities: Capabilities,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    scope: String,
}

impl CapabilitiesAnswer {
    pub(crate) fn scope(&self) -> Scope {
        if self.capabilities.scope.eq_ignore_ascii_case("global") {
            Scope::Global
        } else {
            Scope::Local
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Got {
    volume: Option<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Listed {
    volumes: Option<Vec<Described>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Described {
    name: String,
    mountpoint: Option<String>,
    created_at: Option<String>,
    status: Option<Map<String, Value>>,
}

impl Plugin {
    /// Makes a volume.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn create(
        &self,
        volume: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), PluginError> {
        let question = Create {
            name: volume,
            opts: options,
        };
        let Done {} = self.call(CREATE, &question, self.settings.long, Patience::IfFound)?;
        Ok(())
    }

    /// Removes a volume with its data.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn remove(&self, volume: &str) -> Result<(), PluginError> {
        let question = Named { name: volume };
        let Done {} = self.call(REMOVE, &question, self.settings.short, Patience::IfFound)?;
        Ok(())
    }

    /// Makes a volume usable for the user `id`; where it is.
    ///
    /// # Errors
    /// [`PluginError`]; a mount point that cannot be one is [`PluginError::Nonsense`].
    pub fn mount(&self, volume: &str, id: &str) -> Result<PathBuf, PluginError> {
        let question = Mounting { name: volume, id };
        let mounted: Mounted = self.call(MOUNT, &question, self.settings.long, Patience::Known)?;
        let nonsense = |why: String| PluginError::Nonsense {
            plugin: self.name().to_owned(),
            method: MOUNT,
            why,
        };
        match mounted.mountpoint.filter(|path| !path.is_empty()) {
            Some(path) => mountpoint(&path)
                .ok_or_else(|| nonsense(format!("{path:?} cannot be a mount point"))),
            None => Err(nonsense("it names no mount point".to_owned())),
        }
    }

    /// The user `id` needs the volume no longer. Not waited for: who stops a container waits already.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn unmount(&self, volume: &str, id: &str) -> Result<(), PluginError> {
        let question = Mounting { name: volume, id };
        let Done {} = self.call(UNMOUNT, &question, self.settings.short, Patience::Never)?;
        Ok(())
    }

    /// Describes a volume; `None` when the plugin says that it has none of that name. As in Docker any refusal says so.
    ///
    /// # Errors
    /// [`PluginError`]: the plugin has said nothing that can be understood.
    pub fn look_up(&self, volume: &str, patience: Patience) -> Result<Option<Seen>, PluginError> {
        let question = Named { name: volume };
        let got: Result<Got, _> = self.call(GET, &question, self.settings.short, patience);
        match got {
            Ok(got) => Ok(got
                .volume
                .and_then(Described::checked)
                .filter(|seen| seen.name == volume)),
            Err(error) if error.is_answer() => {
                tracing::debug!(plugin = self.name(), volume, %error, "no such volume");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where a volume is; `None` when the plugin does not say.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn path(&self, volume: &str) -> Result<Option<PathBuf>, PluginError> {
        let question = Named { name: volume };
        let asked: Result<Mounted, _> =
            self.call(PATH, &question, self.settings.short, Patience::Never);
        match asked {
            Ok(mounted) => Ok(mounted.mountpoint.as_deref().and_then(mountpoint)),
            Err(error) if error.is_answer() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All its volumes, by name.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn list(&self) -> Result<Vec<Seen>, PluginError> {
        let listed: Listed =
            self.call(LIST, &Everything {}, self.settings.short, Patience::Never)?;
        let mut volumes: Vec<Seen> = listed
            .volumes
            .unwrap_or_default()
            .into_iter()
            .filter_map(Described::checked)
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        volumes.dedup_by(|a, b| a.name == b.name);
        Ok(volumes)
    }

    /// What it said when it was asked last; local before that.
    pub fn scope(&self) -> Scope {
        held(&self.active)
            .as_ref()
            .map_or(Scope::Local, |active| active.scope)
    }

    /// Whether it is there, answers, and is a volume driver.
    pub fn is_driver(&self) -> bool {
        self.activate().is_ok()
    }
}

impl Described {
    fn checked(self) -> Option<Seen> {
        if !is_volume_name(&self.name) {
            return None;
        }
        let is_time =
            |text: &String| text.len() < 64 && text.chars().all(|letter| letter.is_ascii_graphic());
        Some(Seen {
            name: self.name,
            mountpoint: self.mountpoint.as_deref().and_then(mountpoint),
            created_at: self
                .created_at
                .filter(|text| !text.is_empty() && is_time(text)),
            status: self.status.filter(|status| !status.is_empty()),
        })
    }
}

/// Whether a plugin may have a volume of this name.
pub fn is_volume_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

fn mountpoint(path: &str) -> Option<PathBuf> {
    let is_path = path.len() < 4096
        && path.starts_with('/')
        && !path.contains('\0')
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && Path::new(path).components().count() > 1;
    is_path.then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_mount_point() {
        for (path, is) in [
            ("/mnt/x", true),
            ("/mnt/x/", true),
            ("/mnt/./x", true),
            ("/mnt/../etc", false),
            ("/..", false),
            ("/", false),
            ("//", false),
            ("mnt", false),
            ("", false),
            ("/a\0b", false),
        ] {
            assert_eq!(mountpoint(path).is_some(), is, "{path:?}");
        }
    }
}

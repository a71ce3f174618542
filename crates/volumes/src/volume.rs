//! A volume as callers see it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use store::{Paths, VolumeId, VolumeRow};
use volume_plugins::Plugins;

use crate::driver::{Drivers, Scope};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `None`: there is no record of it, only its plugin knows it.
    pub id: Option<VolumeId>,
    pub name: String,
    pub driver: String,
    /// What the driver was given; `None` when that was nothing.
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    /// RFC 3339, whole seconds.
    pub created_at: String,
    /// Where people find its bytes: `<root>/volumes/<name>/_data`, or where its plugin says; empty while that is not
    /// known.
    pub mountpoint: PathBuf,
    pub scope: Scope,
    /// Nobody chose its name.
    pub anonymous: bool,
}

/// Whether there is the label `wanted`: `key`, or `key=value` with that value.
pub fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
        None => labels.contains_key(wanted),
    }
}

impl Volume {
    /// As [`has_label`]; a volume may have no labels at all.
    pub fn has_label(&self, wanted: &str) -> bool {
        self.labels
            .as_ref()
            .is_some_and(|labels| has_label(labels, wanted))
    }

    pub(crate) fn new(row: VolumeRow, paths: &Paths, drivers: &Drivers, plugins: &Plugins) -> Self {
        let (mountpoint, scope) = match drivers.find(&row.driver) {
            Some(driver) => (paths.mountpoint(&row.name), driver.capabilities().scope),
            None => (PathBuf::new(), plugins.get(&row.driver).scope().into()),
        };
        Self {
            mountpoint,
            scope,
            id: Some(row.id),
            name: row.name,
            driver: row.driver,
            options: row.options,
            labels: row.labels,
            created_at: row.created_at,
            anonymous: row.anonymous,
        }
    }
}

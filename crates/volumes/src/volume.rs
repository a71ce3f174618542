//! A volume as callers see it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use store::{Paths, VolumeId, VolumeRow};

use crate::driver::{Drivers, Scope};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub id: VolumeId,
    pub name: String,
    pub driver: String,
    /// What the driver was given; `None` when that was nothing.
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    /// RFC 3339, whole seconds.
    pub created_at: String,
    /// Where people find its bytes: `<root>/volumes/<name>/_data`.
    pub mountpoint: PathBuf,
    pub scope: Scope,
    /// Nobody chose its name.
    pub anonymous: bool,
}

impl Volume {
    pub(crate) fn new(row: VolumeRow, paths: &Paths, drivers: &Drivers) -> Self {
        Self {
            mountpoint: paths.mountpoint(&row.name),
            scope: drivers
                .find(&row.driver)
                .map_or(Scope::Local, |driver| driver.capabilities().scope),
            id: row.id,
            name: row.name,
            driver: row.driver,
            options: row.options,
            labels: row.labels,
            created_at: row.created_at,
            anonymous: row.anonymous,
        }
    }
}

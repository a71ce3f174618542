//! Volumes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine::{Inspected, Volume};
use serde::Serialize;
use serde_json::Value;

/// A volume as the API shows it. Lists of thousands are written without a tree of values in between.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shown<'a> {
    created_at: &'a str,
    driver: &'a str,
    labels: Option<&'a BTreeMap<String, String>>,
    mountpoint: Cow<'a, str>,
    name: &'a str,
    options: Option<&'a BTreeMap<String, String>>,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a serde_json::Map<String, Value>>,
}

impl<'a> From<&'a Volume> for Shown<'a> {
    fn from(volume: &'a Volume) -> Self {
        Self {
            created_at: &volume.created_at,
            driver: &volume.driver,
            labels: volume.labels.as_ref(),
            mountpoint: volume.mountpoint.to_string_lossy(),
            name: &volume.name,
            options: volume.options.as_ref(),
            scope: volume.scope.as_str(),
            status: None,
        }
    }
}

/// With what its plugin tells beside.
impl<'a> From<&'a Inspected> for Shown<'a> {
    fn from(inspected: &'a Inspected) -> Self {
        Self {
            status: inspected.status.as_ref(),
            ..Self::from(&inspected.volume)
        }
    }
}

/// As `inspect` shows it.
pub(crate) fn inspected(inspected: &Inspected) -> Value {
    serde_json::to_value(Shown::from(inspected)).expect("plain texts serialise")
}

pub(crate) fn volume(volume: &Volume) -> Value {
    serde_json::to_value(Shown::from(volume)).expect("plain texts serialise")
}

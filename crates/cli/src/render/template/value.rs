//! What templates compute with: JSON seen as the Go values it came from.
//!
//! Docker's client renders typed structs, where a field that JSON shows as `null` is a nil slice, a nil map
//! or a nil pointer, each with its own looks (`[]`, `map[]`, `<nil>`) and its own rules (a nil slice has a
//! length, a nil pointer has not). [`Value::field`] restores that difference by the field's name. In the same
//! way `index` on a map without the key gives the zero value of what the map holds, so that
//! `{{index .Config.Labels "absent"}}` prints nothing.

use serde_json::{Map, Value as Json};
use std::borrow::Cow;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// No value at all: a key that is not there.
    Missing,
    Nil,
    NilList,
    NilMap,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'a, str>),
    List(&'a [Json]),
    /// What `split` returns.
    Texts(Vec<String>),
    Map(&'a Map<String, Json>),
}

/// Fields that are maps in Docker's types.
const MAPS: &[&str] = &[
    "Annotations",
    "Containers",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields that are slices in Docker's types.
const LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "Config",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "LinkLocalIPs",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "SecurityOptions",
    "Shell",
    "Ulimits",
    "VolumesFrom",
    "Warnings",
];

impl<'a> Value<'a> {
    /// An element of a list, a value of a map, or the whole data.
    pub(super) fn element(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value.into()),
                (None, Some(value)) => Self::Int(value.into()),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(list) => Self::List(list),
            Json::Object(map) => Self::Map(map),
        }
    }

    /// The value of the field `name`.
    pub(super) fn field(name: &str, json: &'a Json) -> Self {
        match json {
            Json::Null if MAPS.contains(&name) => Self::NilMap,
            Json::Null if LISTS.contains(&name) => Self::NilList,
            json => Self::element(json),
        }
    }

    /// What Go's `index` gives for a key that `map` has not: the zero value of its element type, which the
    /// other elements show. Empty maps count as maps of strings, since most of Docker's are.
    pub(super) fn zero_of(map: &'a Map<String, Json>) -> Self {
        match map.values().next() {
            None | Some(Json::String(_)) => Self::Text(Cow::Borrowed("")),
            Some(Json::Bool(_)) => Self::Bool(false),
            Some(Json::Number(number)) if number.is_f64() => Self::Float(0.0),
            Some(Json::Number(_)) => Self::Int(0),
            Some(Json::Null | Json::Array(_)) => Self::NilList,
            Some(Json::Object(_)) => Self::Nil,
        }
    }

    /// Go's truth: not the zero value, not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil | Self::NilList | Self::NilMap => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Texts(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// The elements, if this is a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        match self {
            Self::NilList => Some(Vec::new()),
            Self::List(list) => Some(list.iter().map(Self::element).collect()),
            Self::Texts(list) => Some(
                list.iter()
                    .map(|text| Self::Text(Cow::Owned(text.clone())))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// Keys and values in the order of the keys, if this is a map; Go visits maps like this.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        match self {
            Self::NilMap => Some(Vec::new()),
            Self::Map(map) => {
                let mut entries: Vec<_> = map
                    .iter()
                    .map(|(key, json)| (key.as_str(), Self::field(key, json)))
                    .collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                Some(entries)
            }
            _ => None,
        }
    }

    /// Go's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "<nil>",
            Self::NilList | Self::List(_) => "[]interface {}",
            Self::NilMap | Self::Map(_) => "map[string]interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Texts(_) => "[]string",
        }
    }
}

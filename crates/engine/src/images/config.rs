//! The image configuration: the JSON document whose digest is the image's id.
//!
//! Read leniently, for many tools write it; kept byte by byte, for its digest is its name.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ImageError;
use crate::containers::Config;

/// The parts we act on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ImageConfig {
    pub(super) architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    pub(super) os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    pub(super) config: Option<serde_json::Value>,
    pub(super) rootfs: RootFs,
    pub(super) history: Vec<History>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) empty_layer: bool,
    /// The key of the step of a build that this is: what it depends on, as a digest. It goes wherever the image goes, so
    /// that a build elsewhere may trust it (`--cache-from`).
    #[serde(rename = "io.orlop.step", skip_serializing_if = "String::is_empty")]
    pub(super) step: String,
}

impl ImageConfig {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let invalid =
            |why: String| ImageError::Invalid(format!("invalid image configuration: {why}"));
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        let config: Self = serde_json::from_value(without_nulls(value))
            .map_err(|error| invalid(error.to_string()))?;
        if let Some(diff_id) = config
            .rootfs
            .diff_ids
            .iter()
            .find(|diff_id| !super::reference::is_digest(diff_id))
        {
            return Err(invalid(format!("\"{diff_id}\" is no sha256 digest")));
        }
        check_depth(config.rootfs.diff_ids.len())?;
        Ok(config)
    }

    /// What a container takes from it.
    pub(super) fn run_config(&self) -> Result<Config, ImageError> {
        match &self.config {
            Some(value) => serde_json::from_value(value.clone()).map_err(|error| {
                ImageError::Invalid(format!("invalid image configuration: {error}"))
            }),
            None => Ok(Config::default()),
        }
    }

    /// Unix seconds; 0 when the image does not tell.
    pub(super) fn created_seconds(&self) -> i64 {
        self.created
            .as_deref()
            .and_then(|text| text.parse::<Timestamp>().ok())
            .map_or(0, Timestamp::as_second)
    }
}

/// Docker's bound, and its words.
pub(super) fn check_depth(layers: usize) -> Result<(), ImageError> {
    if layers > registry::MAX_LAYERS {
        return Err(ImageError::Invalid(format!(
            "max depth exceeded: the image has {layers} layers, {} are possible",
            registry::MAX_LAYERS
        )));
    }
    Ok(())
}

/// Go writes null for empty lists and maps; absent says the same.
pub(super) fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// `sha256:…` of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}

/// The id of a stack of layers: what is below decides together with the layer itself.
pub(super) fn chain_id(parent: Option<&str>, diff_id: &str) -> String {
    match parent {
        Some(parent) => digest(format!("{parent} {diff_id}").as_bytes()),
        None => diff_id.to_owned(),
    }
}

/// Go's names of the architecture we run on.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What `fuzz/` sees of this file: a configuration that is written again is read as the same.
///
/// # Panics
/// When it is not.
#[cfg(feature = "fuzzing")]
pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(config) = ImageConfig::parse(bytes) else {
        return;
    };
    let _ = config.created_seconds();
    let mut chain = None;
    for diff_id in &config.rootfs.diff_ids {
        chain = Some(chain_id(chain.as_deref(), diff_id));
    }
    let written = serde_json::to_vec(&config).expect("a configuration serialises");
    let again = ImageConfig::parse(&written).expect("what is written is read");
    assert_eq!(again.rootfs.diff_ids, config.rootfs.diff_ids);
    assert_eq!(again.history.len(), config.history.len());
    assert_eq!(again.created, config.created);
    assert_eq!(again.run_config().is_ok(), config.run_config().is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_oci_specification() {
        let a = digest(b"a");
        assert_eq!(chain_id(None, &a), a);
        assert_eq!(
            chain_id(Some(&a), &a),
            digest(format!("{a} {a}").as_bytes())
        );
    }

    #[test]
    fn nulls_of_go_are_nothing() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Volumes":null,"Env":["A=1"]},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = ImageConfig::parse(text).expect("as docker writes it");
        assert_eq!(config.run_config().expect("valid").env, ["A=1"]);
        assert!(ImageConfig::parse(br#"{"rootfs":{"diff_ids":["x"]}}"#).is_err());
    }

    #[test]
    fn stacks_have_a_bound() {
        let of = |layers: usize| {
            let diff_ids = vec![digest(b"a"); layers];
            ImageConfig::parse(
                serde_json::json!({ "rootfs": { "diff_ids": diff_ids } })
                    .to_string()
                    .as_bytes(),
            )
        };
        assert!(of(127).is_ok());
        assert!(of(128).is_err());
    }
}

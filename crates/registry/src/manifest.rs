//! What a tag or digest leads to: the manifest of an image, or an index of several.
//!
//! Whoever has a [`Document`] may count on it: an image has no more layers than can be stacked, each blob a digest that
//! can be checked and a size that a file can have, and its configuration is not too long to be read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::RegistryError;
use crate::platform::Platform;

/// Larger documents are refused unread.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// What Docker allows an image.
pub const MAX_LAYERS: usize = 127;

/// Media types.
pub mod types {
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// Indexes by another name.
pub const INDEX_TYPES: [&str; 2] = [types::DOCKER_LIST, types::OCI_INDEX];

/// What [`crate::Session::manifest`] asks for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*";

/// A document as it came; its bytes have the digest.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// The manifest of one image.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// Several images behind one name.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone)]
pub enum Document {
    Image(Manifest),
    Index(Index),
}

impl Fetched {
    /// Reads the document. `name` is for messages.
    ///
    /// # Errors
    /// [`RegistryError::Unsupported`] for Docker's schema 1, for what is no image, and for layers that cannot be had from
    /// the registry; [`RegistryError::Answer`] for what is no manifest at all.
    pub fn document(&self, name: &str) -> Result<Document, RegistryError> {
        let broken = |why: String| RegistryError::Answer {
            url: name.to_owned(),
            why,
        };
        let value: Value =
            serde_json::from_slice(&self.bytes).map_err(|error| broken(error.to_string()))?;
        let schema_1 = self.media_type.contains("manifest.v1")
            && self.media_type.contains("docker.distribution")
            || value["schemaVersion"] == 1
            || value.get("fsLayers").is_some();
        if schema_1 {
            return Err(RegistryError::Unsupported(format!(
                "{name} is a Docker image manifest of version 2, schema 1, which is not supported: push it again with a newer client"
            )));
        }
        let said = value["mediaType"].as_str().unwrap_or(&self.media_type);
        let is_index =
            INDEX_TYPES.contains(&said) || value.get("manifests").is_some_and(Value::is_array);
        let has_layers = value.get("layers").is_some() || value.get("config").is_some();
        // A document that can be read in two ways would have one digest and two meanings.
        if is_index && has_layers {
            return Err(broken("it is a manifest and an index at once".to_owned()));
        }
        if is_index {
            return serde_json::from_value(value)
                .map(Document::Index)
                .map_err(|error| broken(error.to_string()));
        }
        if !has_layers {
            return Err(broken(format!("unsupported manifest type \"{said}\"")));
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|error| broken(error.to_string()))?;
        manifest.check(name)?;
        Ok(Document::Image(manifest))
    }
}

impl Manifest {
    fn check(&self, name: &str) -> Result<(), RegistryError> {
        let unsupported = |why: String| Err(RegistryError::Unsupported(why));
        let config = self.config.media_type.as_str();
        let known_config = matches!(
            config,
            types::DOCKER_CONFIG
                | types::OCI_CONFIG
                | ""
                | "application/octet-stream"
                | "application/json"
                | "text/html"
        );
        if !known_config {
            return unsupported(format!(
                "{name} is no container image: its configuration is \"{config}\""
            ));
        }
        if self.layers.len() > MAX_LAYERS {
            return unsupported(format!(
                "max depth exceeded: {name} has {} layers, {MAX_LAYERS} are possible",
                self.layers.len()
            ));
        }
        if self.config.size > MANIFEST_LIMIT {
            return Err(RegistryError::TooLarge {
                what: format!("the configuration of {name}"),
                limit: MANIFEST_LIMIT,
            });
        }
        for descriptor in std::iter::once(&self.config).chain(&self.layers) {
            if !is_sha256(&descriptor.digest) {
                return unsupported(format!(
                    "{name} names a blob by the unsupported digest \"{}\"",
                    descriptor.digest
                ));
            }
            if i64::try_from(descriptor.size).is_err() {
                return unsupported(format!(
                    "{name} names a blob of an impossible size, {} bytes",
                    descriptor.size
                ));
            }
        }
        for layer in &self.layers {
            let kind = layer.media_type.as_str();
            if kind.contains("foreign") || kind.contains("nondistributable") {
                return unsupported(format!(
                    "{name} has a layer that may not be distributed (\"{kind}\"): such images are not supported"
                ));
            }
            let known = matches!(
                kind,
                types::DOCKER_LAYER
                    | types::DOCKER_LAYER_GZIP
                    | types::OCI_LAYER
                    | types::OCI_LAYER_GZIP
                    | types::OCI_LAYER_ZSTD
                    | "application/vnd.docker.image.rootfs.diff.tar.zstd"
                    | "application/vnd.docker.container.image.rootfs.diff+x-gtar"
            );
            if !known {
                return unsupported(format!("{name} has a layer of the unknown type \"{kind}\""));
            }
        }
        Ok(())
    }
}

impl Index {
    /// The image that serves `wanted` best.
    ///
    /// # Errors
    /// [`RegistryError::NoPlatform`].
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, RegistryError> {
        self.manifests
            .iter()
            .filter(|entry| is_sha256(&entry.digest))
            .filter_map(|entry| {
                // One without a platform is taken where nothing better is.
                let distance = match &entry.platform {
                    Some(platform) => platform.distance(wanted)?,
                    None => 1000,
                };
                Some((distance, entry))
            })
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, entry)| entry)
            .ok_or_else(|| RegistryError::NoPlatform(wanted.to_string()))
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(media_type: &str, value: &Value) -> Result<Document, RegistryError> {
        Fetched {
            media_type: media_type.to_owned(),
            bytes: value.to_string().into_bytes(),
            digest: String::new(),
        }
        .document("x")
    }

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn image(layer: &str) -> Value {
        json!({
            "schemaVersion": 2,
            "config": { "mediaType": types::OCI_CONFIG, "digest": digest("a"), "size": 2 },
            "layers": [{ "mediaType": layer, "digest": digest("b"), "size": 3 }],
        })
    }

    #[test]
    fn documents() {
        assert!(matches!(
            read(types::OCI_MANIFEST, &image(types::OCI_LAYER_ZSTD)).expect("valid"),
            Document::Image(manifest) if manifest.layers[0].size == 3
        ));
        let index = json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": types::OCI_MANIFEST, "digest": digest("c"), "size": 1,
              "platform": { "os": "unknown", "architecture": "unknown" } },
            { "mediaType": types::OCI_MANIFEST, "digest": digest("d"), "size": 1,
              "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" } },
        ]});
        let Document::Index(index) = read(types::OCI_INDEX, &index).expect("valid") else {
            panic!("an index");
        };
        let wanted = |text| Platform::parse(text, &Platform::default()).expect("valid");
        assert_eq!(
            index.choose(&wanted("linux/arm64")).expect("there").digest,
            digest("d")
        );
        assert_eq!(
            index
                .choose(&wanted("linux/amd64"))
                .expect_err("not there")
                .to_string(),
            "no matching manifest for linux/amd64 in the manifest list entries"
        );
    }

    #[test]
    fn what_is_refused() {
        let mut many = image(types::OCI_LAYER);
        many["layers"] = Value::Array(vec![many["layers"][0].clone(); 128]);
        let mut both = image(types::OCI_LAYER);
        both["manifests"] = json!([]);
        let mut sha512 = image(types::OCI_LAYER);
        sha512["layers"][0]["digest"] = json!("sha512:00");
        let mut negative = image(types::OCI_LAYER);
        negative["layers"][0]["size"] = json!(-1);
        let mut endless = image(types::OCI_LAYER);
        endless["layers"][0]["size"] = json!(u64::MAX);
        let mut oversized = image(types::OCI_LAYER);
        oversized["config"]["size"] = json!(MANIFEST_LIMIT + 1);
        for (value, words) in [
            (endless, "impossible size"),
            (oversized, "the configuration of x"),
            (
                image("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
                "may not be distributed",
            ),
            (image("application/x"), "unknown type"),
            (many, "max depth exceeded"),
            (both, "at once"),
            (sha512, "unsupported digest"),
            (negative, "invalid value"),
            (json!({ "schemaVersion": 1, "fsLayers": [] }), "schema 1"),
            (json!({}), "unsupported manifest type"),
            (json!([]), "unsupported manifest type"),
        ] {
            let error = read("", &value).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

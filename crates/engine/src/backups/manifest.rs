//! What stands beside a volume's files in a backup: `volume.json` and `containers.json`, readable by people and programs.
//!
//! Both may hold secrets (a driver's options, a container's environment), as the repository's encryption may.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use volumes::Volume;

use super::{BackupError, Backups};
use crate::containers::find::Columns as _;
use crate::containers::networking::EndpointRequest;
use crate::containers::{Config, ContainerError, HostConfig, Status};
use crate::network::named::{Ipam, NetworkRequest};

pub(super) const VOLUME: &str = "volume.json";
pub(super) const CONTAINERS: &str = "containers.json";
/// The directory of a volume's files.
pub(super) const DATA: &str = "_data";
/// Raised when a reader of an older version would misunderstand.
const FORMAT: u32 = 1;

/// A volume as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeManifest {
    pub format: u32,
    pub name: String,
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub created_at: String,
    pub anonymous: bool,
    pub protected: bool,
    /// What it could hold.
    pub bytes: Option<u64>,
    pub inodes: Option<u64>,
    pub soft_bytes: Option<u64>,
    /// Name of its pool, if it lay in one.
    pub pool: Option<String>,
    pub history: Vec<Event>,
    /// What was done so that its bytes fit together.
    pub consistency: String,
    /// RFC 3339: the instant that the files show.
    pub taken_at: String,
    /// Volumes of the same backup, which show the same instant.
    pub group: Vec<String>,
}

/// Something that happened to a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Event {
    pub at: String,
    pub action: String,
    pub detail: String,
}

/// The containers that had a volume, and the networks that they were on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainersManifest {
    pub format: u32,
    pub containers: Vec<ContainerManifest>,
    pub networks: Vec<NetworkRequest>,
}

/// What a container is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerManifest {
    pub name: String,
    /// As the user named it.
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub running: bool,
    pub config: Config,
    pub host_config: HostConfig,
    /// By name of the network.
    pub networks: BTreeMap<String, EndpointRequest>,
    pub volumes: Vec<VolumeMount>,
}

/// A volume in a container, also one that it was given without a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeMount {
    pub name: String,
    pub destination: String,
    #[serde(rename = "RW")]
    pub rw: bool,
}

impl Backups {
    pub(super) fn volume_manifest(
        &self,
        volume: &Volume,
        consistency: &str,
        taken_at: &str,
        group: &[String],
    ) -> Result<VolumeManifest, BackupError> {
        let name = volume.name.clone();
        let storage = self.volumes.storage(&name)?;
        let notes = self.volumes.notes(&name)?;
        let history = self.volumes.history(&name)?;
        Ok(VolumeManifest {
            format: FORMAT,
            driver: volume.driver.clone(),
            options: volume.options.clone().unwrap_or_default(),
            labels: volume.labels.clone().unwrap_or_default(),
            created_at: volume.created_at.clone(),
            anonymous: volume.anonymous,
            protected: notes.protected,
            bytes: storage.limits.bytes,
            inodes: storage.limits.inodes,
            soft_bytes: storage.soft_bytes,
            pool: Some(storage.pool).filter(|pool| !pool.is_empty()),
            history: history
                .into_iter()
                .map(|event| Event {
                    at: event.at,
                    action: event.action,
                    detail: event.detail,
                })
                .collect(),
            consistency: consistency.to_owned(),
            taken_at: taken_at.to_owned(),
            group: group.to_vec(),
            name,
        })
    }

    pub(super) fn containers_manifest(
        &self,
        volume: &str,
    ) -> Result<ContainersManifest, BackupError> {
        let mut manifest = ContainersManifest {
            format: FORMAT,
            ..ContainersManifest::default()
        };
        let mut networks = BTreeSet::new();
        for id in self.volumes.holders(volume)? {
            let row = self
                .store
                .read(|tx| Ok::<_, ContainerError>(tx.container(&id)?))?;
            // Others than containers hold volumes, too.
            let Some(row) = row else { continue };
            let network = row.network()?;
            for endpoint in &network.endpoints {
                networks.insert(endpoint.network.clone());
            }
            let mounts = self.containers.stored_mounts(&row)?;
            manifest.containers.push(ContainerManifest {
                running: row.status()? == Status::Running,
                config: row.config()?,
                host_config: row.host_config()?,
                networks: network
                    .endpoints
                    .iter()
                    .map(|endpoint| (endpoint.name.clone(), wish(&endpoint.request)))
                    .collect(),
                volumes: mounts
                    .iter()
                    .filter(|mount| mount.point.kind == "volume" && mount.snapshot.is_none())
                    .map(|mount| VolumeMount {
                        name: mount.point.name.clone(),
                        destination: mount.point.destination.clone(),
                        rw: mount.point.rw,
                    })
                    .collect(),
                name: row.name,
                image: row.image_ref,
                image_id: row.image_id,
            });
        }
        manifest.containers.sort_by(|a, b| a.name.cmp(&b.name));
        for id in networks {
            let Ok(network) = self.networks.inspect(&id) else {
                // Removed meanwhile.
                continue;
            };
            if network.predefined {
                continue;
            }
            manifest.networks.push(NetworkRequest {
                name: network.name,
                driver: network.driver,
                internal: network.internal,
                attachable: network.attachable,
                enable_ipv6: Some(network.ipv6),
                options: Some(network.options).filter(|options| !options.is_empty()),
                labels: Some(network.labels).filter(|labels| !labels.is_empty()),
                ipam: Some(Ipam {
                    driver: network.ipam_driver,
                    options: network.ipam_options,
                    config: Some(network.pools),
                }),
                ..NetworkRequest::default()
            });
        }
        Ok(manifest)
    }
}

/// Ids of this host's networks mean nothing on another one.
fn wish(request: &EndpointRequest) -> EndpointRequest {
    EndpointRequest {
        network_id: String::new(),
        ..request.clone()
    }
}

/// A manifest as it is written.
pub(super) fn text<T: Serialize>(manifest: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(manifest).expect("maps have string keys");
    text.push(b'\n');
    text
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &[u8],
) -> Result<T, BackupError> {
    serde_json::from_slice(text).map_err(|source| BackupError::Manifest { what, source })
}

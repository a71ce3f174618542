//! `inspect`: everything known of one container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use store::ContainerRow;

use super::find::Columns as _;
use super::networking::Endpoint;
use super::{Config, ContainerError, Containers, HostConfig, Status};

/// One entry of `.Mounts`; also the form in which resolved mounts are stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub source: String,
    pub destination: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
}

#[derive(Debug, Clone)]
pub struct StateDetail {
    pub status: Status,
    pub pid: i32,
    pub exit_code: i32,
    pub error: String,
    pub oom_killed: bool,
    /// RFC 3339; `0001-01-01T00:00:00Z` when never.
    pub started_at: String,
    pub finished_at: String,
    pub health: Option<shim_protocol::HealthRecord>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSettings {
    /// `bridge`, `host`, `none`, `container:<id>`.
    pub mode: String,
    /// In the order of preference: the way out first.
    pub endpoints: Vec<Endpoint>,
    /// `80/tcp` → host addresses and ports; `None`: exposed but not published.
    pub ports: BTreeMap<String, Option<Vec<super::config::PortBinding>>>,
}

impl NetworkSettings {
    /// Addresses and host ports count only while the container runs.
    pub(super) fn shown(self, status: Status) -> Self {
        if status.is_active() {
            return self;
        }
        Self {
            endpoints: self.endpoints.iter().map(Endpoint::at_rest).collect(),
            mode: self.mode,
            ports: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct ContainerDetail {
    pub id: String,
    /// Without the leading `/`.
    pub name: String,
    pub created: String,
    pub image_id: String,
    /// What the user typed.
    pub image_ref: String,
    /// Executable and its arguments, entrypoint and command joined.
    pub path: String,
    pub args: Vec<String>,
    pub config: Config,
    pub host_config: HostConfig,
    pub state: StateDetail,
    pub mounts: Vec<MountPoint>,
    pub network: NetworkSettings,
    pub restart_count: u32,
    pub log_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub resolv_conf_path: String,
    pub exec_ids: Vec<String>,
    /// Bytes; only when asked for.
    pub size_rw: Option<i64>,
    pub size_root_fs: Option<i64>,
}

impl Containers {
    pub fn inspect(&self, reference: &str, size: bool) -> Result<ContainerDetail, ContainerError> {
        let row = self.find(reference)?;
        let config = row.config()?;
        let mut words = config
            .entrypoint
            .iter()
            .chain(&config.cmd)
            .flatten()
            .cloned();
        let path = words.next().unwrap_or_default();
        let args = words.collect();
        let (size_rw, size_root_fs) = if size {
            self.sizes(&row.id, &row.image_id)?
        } else {
            (None, None)
        };
        Ok(ContainerDetail {
            path,
            args,
            state: StateDetail {
                status: row.status()?,
                pid: row.pid,
                exit_code: row.exit_code,
                error: row.error.clone(),
                oom_killed: row.oom_killed,
                started_at: row.started_at.clone(),
                finished_at: row.finished_at.clone(),
                health: self.health(&row)?,
            },
            mounts: self.mount_points(&row)?,
            network: row.network()?.shown(row.status()?),
            host_config: row.host_config()?,
            config,
            restart_count: row.restart_count,
            log_path: row.log_path.clone(),
            hostname_path: self.shown(&row.id, "hostname"),
            hosts_path: self.shown(&row.id, "hosts"),
            resolv_conf_path: self.shown(&row.id, "resolv.conf"),
            exec_ids: self.running_execs(&row.id),
            size_rw,
            size_root_fs,
            id: row.id,
            name: row.name,
            created: row.created_at,
            image_id: row.image_id,
            image_ref: row.image_ref,
        })
    }

    fn shown(&self, id: &str, file: &str) -> String {
        self.paths
            .container_file(id, file)
            .to_string_lossy()
            .into_owned()
    }

    pub(super) fn mount_points(
        &self,
        row: &ContainerRow,
    ) -> Result<Vec<MountPoint>, ContainerError> {
        let mounts = self.stored_mounts(row)?;
        self.located(
            &row.id,
            mounts.into_iter().map(|mount| mount.point).collect(),
        )
    }

    /// The mounts of a container, those of plugins' volumes with the place where they are now.
    pub(super) fn located(
        &self,
        id: &str,
        mut points: Vec<MountPoint>,
    ) -> Result<Vec<MountPoint>, ContainerError> {
        for point in &mut points {
            if point.kind == "volume"
                && self.volumes.is_elsewhere(&point.driver)
                && let Some(path) = self.volumes.mountpoint_for(&point.name, id)?
            {
                // A plugin says where only when it mounts.
                point.source = path.to_string_lossy().into_owned();
            }
        }
        Ok(points)
    }

    /// Bytes that the container itself takes, and with its image.
    pub(super) fn sizes(
        &self,
        id: &str,
        image_id: &str,
    ) -> Result<(Option<i64>, Option<i64>), ContainerError> {
        let upper = self.paths.container_upper(id);
        let own = match sys::dir::tree_size(&upper) {
            Ok(size) => i64::try_from(size.bytes).unwrap_or(i64::MAX),
            // Removed since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(source) => {
                return Err(ContainerError::Io {
                    action: "cannot measure the container".to_owned(),
                    source,
                });
            }
        };
        let image = self.images.inspect(image_id).map_or(0, |image| image.size);
        let image = i64::try_from(image).unwrap_or(i64::MAX);
        Ok((Some(own), Some(own.saturating_add(image))))
    }
}

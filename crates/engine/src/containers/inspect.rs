//! `inspect`: everything known of one container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSettings {
    /// `bridge`, `host`, `none`, `container:<id>`.
    pub mode: String,
    pub ip: String,
    pub prefix_len: u8,
    pub gateway: String,
    pub mac: String,
    pub ip6: String,
    pub prefix_len6: u8,
    pub gateway6: String,
    /// `80/tcp` → host addresses and ports; `None`: exposed but not published.
    pub ports: BTreeMap<String, Option<Vec<super::config::PortBinding>>>,
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
        todo!()
    }
}

//! Facts about the engine and its host, and what the data takes on disk.

use crate::engine::Engine;

/// Contents of `system df`.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Bytes of all unpacked layers.
    pub layers_size: i64,
    pub images: Vec<crate::images::ImageSummary>,
    /// With `size_rw` and `size_root_fs` filled.
    pub containers: Vec<crate::containers::ContainerSummary>,
    /// Name, bytes (-1: not known), number of containers.
    pub volumes: Vec<(volumes::Volume, i64, i64)>,
}

/// Counts and host facts for `info`.
#[derive(Debug, Clone, Default)]
pub struct Info {
    pub containers: usize,
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
    pub images: usize,
    pub kernel: String,
    pub operating_system: String,
    pub os_version: String,
    pub architecture: String,
    pub hostname: String,
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// What this host cannot do ("no swap limit support").
    pub warnings: Vec<String>,
}

impl Engine {
    pub fn disk_usage(&self) -> Result<DiskUsage, crate::containers::ContainerError> {
        todo!()
    }

    pub fn info(&self) -> Result<Info, crate::containers::ContainerError> {
        todo!()
    }
}

//! Facts about the engine and its host, and what the data takes on disk.

use std::fs;

use volumes::VolumeError;

use crate::containers::{ContainerError, ContainerSummary, ListRequest, Status};
use crate::engine::Engine;
use crate::images::{ImageListRequest, ImageSummary};

/// Contents of `system df`.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Bytes of all unpacked layers, and of layers that were not downloaded to their end.
    pub layers_size: u64,
    pub images: Vec<ImageSummary>,
    /// With `size_rw` and `size_root_fs` filled.
    pub containers: Vec<ContainerSummary>,
    pub build_cache: Vec<crate::build::BuildCacheEntry>,
    /// Volume, bytes (-1: not known), number of containers.
    pub volumes: Vec<(volumes::Volume, i64, usize)>,
    /// Volumes in the trash, and what is known of their size.
    pub trash: (usize, u64),
}

/// Which kinds of objects [`Engine::disk_usage`] measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    pub containers: bool,
    pub images: bool,
    pub volumes: bool,
    pub build_cache: bool,
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
    /// Packets are passed on between interfaces.
    pub forwarding: bool,
    /// Open descriptors and threads of the engine itself.
    pub descriptors: usize,
    pub threads: usize,
    /// What this host cannot do ("no swap limit support").
    pub warnings: Vec<String>,
}

impl Engine {
    /// Measures what is asked for; slow where there is much.
    pub fn disk_usage(&self, of: Measured) -> Result<DiskUsage, ContainerError> {
        let layers_size: u64 = self.store.read(|tx| {
            Ok::<_, ContainerError>(tx.layers()?.iter().map(|layer| layer.size).sum())
        })?;
        let layers_size = layers_size + self.images.downloads_size()?;
        let request = ListRequest {
            all: true,
            size: true,
            ..ListRequest::default()
        };
        let mut volumes = Vec::new();
        let listed = if of.volumes {
            self.volumes.list()?
        } else {
            Vec::new()
        };
        for volume in listed {
            // As in Docker, what a driver option or a plugin put elsewhere is not ours to measure.
            let is_mounted = volume
                .options
                .as_ref()
                .is_some_and(|options| !options.is_empty());
            if is_mounted || self.volumes.is_elsewhere(&volume.driver) {
                continue;
            }
            let size = self
                .volumes
                .usage(&volume.name)
                .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            match self.volumes.holders(&volume.name) {
                Ok(holders) => volumes.push((volume, size, holders.len())),
                // Removed, or renamed, since it was listed.
                Err(VolumeError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let trash = self.volumes.trash()?;
        Ok(DiskUsage {
            trash: (
                trash.len(),
                trash.iter().filter_map(|volume| volume.bytes).sum(),
            ),
            layers_size,
            images: if of.images {
                self.images.list(&ImageListRequest {
                    all: true,
                    ..ImageListRequest::default()
                })?
            } else {
                Vec::new()
            },
            containers: if of.containers {
                self.containers.list(&request)?
            } else {
                Vec::new()
            },
            build_cache: if of.build_cache {
                self.builder.usage().map_err(|error| ContainerError::Io {
                    action: "cannot measure the build cache".to_owned(),
                    source: std::io::Error::other(error),
                })?
            } else {
                Vec::new()
            },
            volumes,
        })
    }

    pub fn info(&self) -> Result<Info, ContainerError> {
        let statuses = self.containers.statuses()?;
        let count = |status: Status| statuses.iter().filter(|&&one| one == status).count();
        let (running, paused) = (
            count(Status::Running) + count(Status::Restarting),
            count(Status::Paused),
        );
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |key: &str| {
            release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map_or_else(String::new, |value| value.trim_matches('"').to_owned())
        };
        let uname = rustix::system::uname();
        let groups = sys::cgroup::layout().unwrap_or(sys::cgroup::Layout::Absent);
        let unified = matches!(groups, sys::cgroup::Layout::V2(_));
        let mut warnings = Vec::new();
        if let sys::cgroup::Layout::V1(hierarchies) = &groups {
            let memory = hierarchies
                .iter()
                .find(|group| group.controllers.iter().any(|name| name == "memory"));
            match memory {
                None => warnings.push("WARNING: No memory limit support".to_owned()),
                Some(group)
                    if !group
                        .mount_point
                        .join("memory.memsw.limit_in_bytes")
                        .exists() =>
                {
                    warnings.push("WARNING: No swap limit support".to_owned());
                }
                Some(_) => {}
            }
        }
        Ok(Info {
            containers: statuses.len(),
            running,
            paused,
            stopped: statuses.len() - running - paused,
            images: self.images.list(&ImageListRequest::default())?.len(),
            kernel: uname.release().to_string_lossy().into_owned(),
            operating_system: field("PRETTY_NAME"),
            os_version: field("VERSION_ID"),
            architecture: uname.machine().to_string_lossy().into_owned(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: crate::containers::stats::total_memory(),
            forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
                .is_ok_and(|text| text.trim() == "1"),
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            cgroup_version: if unified { "2" } else { "1" }.to_owned(),
            warnings,
        })
    }
}

/// How many entries a directory of /proc has; 0 when it cannot be read, which says as much.
fn entries(path: &str) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

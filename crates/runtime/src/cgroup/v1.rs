//! Control groups of version 1: a directory in each hierarchy.
//!
//! A process joins by writing `0` to `tasks` itself, while it has one thread: the kernel then skips the lock whose
//! grace period makes a write to `cgroup.procs` from outside last 10 to 20 ms.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use shim_protocol::spec::Resources;
use sys::cgroup::Hierarchy;

use super::remove::pause;
use super::{CgroupError, block_device, cpu_bandwidth, field, read, write, write_raw};
use crate::devices::DeviceRules;

#[derive(Debug)]
struct Group {
    hierarchy: Hierarchy,
    parent: PathBuf,
    path: PathBuf,
}

/// The group of one container in every hierarchy.
#[derive(Debug)]
pub(crate) struct Groups(Vec<Group>);

impl Groups {
    pub(super) fn new(hierarchies: Vec<Hierarchy>, parent: &Path, id: &Path) -> Self {
        let group = |hierarchy: Hierarchy| {
            let parent = hierarchy.mount_point.join(parent);
            Group {
                path: parent.join(id),
                parent,
                hierarchy,
            }
        };
        Self(hierarchies.into_iter().map(group).collect())
    }

    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.0.iter().map(|group| group.path.clone()).collect()
    }

    /// Each hierarchy with its own group, for the container's view of /sys/fs/cgroup.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&Hierarchy, &Path)> {
        self.0
            .iter()
            .map(|group| (&group.hierarchy, group.path.as_path()))
    }

    fn find(&self, controller: &str) -> Option<&Group> {
        self.0.iter().find(|group| {
            group
                .hierarchy
                .controllers
                .iter()
                .any(|name| name == controller)
        })
    }

    fn need(&self, controller: &'static str, what: &'static str) -> Result<&Group, CgroupError> {
        self.find(controller)
            .ok_or(CgroupError::Missing { controller, what })
    }

    pub(super) fn make(&self) -> Result<(), CgroupError> {
        for group in &self.0 {
            group.make().map_err(|errno| CgroupError::Make {
                path: group.path.clone(),
                source: errno.into(),
            })?;
        }
        Ok(())
    }

    pub(super) fn join(&self) -> Result<(), CgroupError> {
        for group in &self.0 {
            let path = group.path.join("tasks");
            write_raw(&path, "0").map_err(|error| CgroupError::Join {
                path: group.path.clone(),
                source: error.into(),
            })?;
        }
        Ok(())
    }

    pub(super) fn limit(&self, resources: &Resources) -> Result<(), CgroupError> {
        self.limit_memory(resources)?;
        let (period, quota) = cpu_bandwidth(resources);
        let cpu = [
            (
                "cpu.shares",
                resources.cpu_shares.filter(|shares| *shares != 0),
            ),
            ("cpu.cfs_period_us", period),
            ("cpu.cfs_quota_us", quota),
        ];
        for (file, value) in cpu {
            if let Some(value) = value {
                let group = self.need("cpu", "processor time")?;
                write(&group.path.join(file), &value.to_string())?;
            }
        }
        let cpuset = [
            ("cpuset.cpus", &resources.cpuset_cpus),
            ("cpuset.mems", &resources.cpuset_mems),
        ];
        for (file, value) in cpuset {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                let group = self.need("cpuset", "processors")?;
                write(&group.path.join(file), value)?;
            }
        }
        if let Some(limit) = resources.pids_limit {
            let value = if limit > 0 {
                limit.to_string()
            } else {
                "max".to_owned()
            };
            match self.need("pids", "processes") {
                Ok(group) => write(&group.path.join("pids.max"), &value)?,
                Err(error) if limit > 0 => return Err(error),
                Err(_) => {}
            }
        }
        self.limit_blocks(resources)
    }

    fn limit_memory(&self, resources: &Resources) -> Result<(), CgroupError> {
        let asked = resources
            .memory
            .or(resources.memory_reservation)
            .is_some_and(|limit| limit != 0)
            || resources.memory_swap.is_some_and(|limit| limit > 0)
            || resources.memory_swappiness.is_some_and(|value| value >= 0)
            || resources.oom_kill_disable;
        if !asked {
            return Ok(());
        }
        let group = self.need("memory", "memory")?;
        let at = |file: &str| group.path.join(file);
        let memory = resources.memory.filter(|limit| *limit != 0);
        // A kernel without swap accounting has no such file; the memory limit alone then holds.
        let swap = resources
            .memory_swap
            .filter(|limit| *limit != 0)
            .filter(|_| at("memory.memsw.limit_in_bytes").exists());
        let set = |file: &str, value: i64| write(&at(file), &value.to_string());
        // Memory may never be above memory plus swap, so which goes first depends on the direction.
        match (memory, swap) {
            (Some(memory), Some(swap)) => {
                if set("memory.limit_in_bytes", memory).is_ok() {
                    set("memory.memsw.limit_in_bytes", swap)?;
                } else {
                    set("memory.memsw.limit_in_bytes", swap)?;
                    set("memory.limit_in_bytes", memory)?;
                }
            }
            (Some(memory), None) => set("memory.limit_in_bytes", memory)?,
            (None, Some(swap)) => set("memory.memsw.limit_in_bytes", swap)?,
            (None, None) => {}
        }
        if let Some(reservation) = resources.memory_reservation.filter(|limit| *limit != 0) {
            set("memory.soft_limit_in_bytes", reservation)?;
        }
        if let Some(value) = resources.memory_swappiness.filter(|value| *value >= 0) {
            set("memory.swappiness", value)?;
        }
        if resources.oom_kill_disable {
            set("memory.oom_control", 1)?;
        }
        Ok(())
    }

    fn limit_blocks(&self, resources: &Resources) -> Result<(), CgroupError> {
        if let Some(weight) = resources.blkio_weight.filter(|weight| *weight != 0) {
            let group = self.need("blkio", "block input and output")?;
            let value = weight.to_string();
            let bfq = group.path.join("blkio.bfq.weight");
            if bfq.exists() {
                write(&bfq, &value)?;
            } else {
                write(&group.path.join("blkio.weight"), &value)?;
            }
        }
        let throttles = [
            ("blkio.throttle.read_bps_device", &resources.blkio_read_bps),
            (
                "blkio.throttle.write_bps_device",
                &resources.blkio_write_bps,
            ),
            (
                "blkio.throttle.read_iops_device",
                &resources.blkio_read_iops,
            ),
            (
                "blkio.throttle.write_iops_device",
                &resources.blkio_write_iops,
            ),
        ];
        for (file, limits) in throttles {
            for (device, rate) in limits {
                let group = self.need("blkio", "block input and output")?;
                let value = format!("{} {rate}", block_device(device)?);
                write(&group.path.join(file), &value)?;
            }
        }
        Ok(())
    }

    pub(super) fn limit_devices(&self, rules: &DeviceRules) -> Result<(), CgroupError> {
        let (Some(group), DeviceRules::Only(rules)) = (self.find("devices"), rules) else {
            return Ok(());
        };
        write(&group.path.join("devices.deny"), "a")?;
        let allow = group.path.join("devices.allow");
        let error = |errno: Errno| CgroupError::Devices {
            path: group.path.clone(),
            source: errno.into(),
        };
        let file = rustix::fs::open(
            &allow,
            rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(error)?;
        for rule in rules {
            match super::write_to(std::os::fd::AsFd::as_fd(&file), &rule.to_string()) {
                Ok(()) => {}
                // Inside a container a default may already be forbidden to us; it then stays forbidden.
                Err(Errno::PERM) if rule.default => {}
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }

    pub(super) fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let group = self.need("freezer", "running")?;
        let path = group.path.join("freezer.state");
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            // Repeated, because a process that forks at the wrong moment keeps the group FREEZING.
            match write_raw(&path, wanted) {
                Ok(()) | Err(Errno::BUSY) => {}
                Err(Errno::NOENT) if !frozen => return Ok(()),
                Err(errno) => {
                    return Err(CgroupError::Write {
                        path,
                        value: wanted.to_owned(),
                        source: errno.into(),
                    });
                }
            }
            if read(&path)?.trim() == wanted {
                return Ok(());
            }
            if Instant::now() >= end {
                // Half frozen is worse than running.
                write(&path, "THAWED")?;
                return Err(CgroupError::Freeze {
                    path: group.path.clone(),
                });
            }
            pause(Duration::from_micros(200));
        }
    }

    pub(super) fn oom_kills(&self) -> u64 {
        self.find("memory")
            .and_then(|group| read(&group.path.join("memory.oom_control")).ok())
            .and_then(|text| field(&text, "oom_kill"))
            .unwrap_or(0)
    }
}

impl Group {
    fn has(&self, controller: &str) -> bool {
        self.hierarchy
            .controllers
            .iter()
            .any(|known| known == controller)
    }

    fn make(&self) -> rustix::io::Result<()> {
        loop {
            match rustix::fs::mkdir(&self.path, Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => break,
                // The last container before this one takes the parent away when it goes, at any moment.
                Err(Errno::NOENT) => self.make_parent()?,
                Err(errno) => return Err(errno),
            }
        }
        if self.has("cpuset") {
            // Inherited, unless another start has just made the parent and not yet filled it.
            for file in CPUSET {
                fill(&self.parent, file, &self.hierarchy.mount_point)?;
                fill(&self.path, file, &self.parent)?;
            }
        }
        Ok(())
    }

    /// Makes the group of the engine. Containers inherit what is set here.
    fn make_parent(&self) -> rustix::io::Result<()> {
        match rustix::fs::mkdir(&self.parent, Mode::from(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let set = |file: &str, value: &str| match write_raw(&self.parent.join(file), value) {
            // Taken away again meanwhile: it will be made anew.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno),
        };
        if self.has("cpuset") {
            for file in CPUSET {
                fill(&self.parent, file, &self.hierarchy.mount_point)?;
            }
            set("cgroup.clone_children", "1")?;
        }
        if self.has("memory") {
            // Kernels before 5.11 count a container's own groups apart without this; later ones have nothing to set.
            set("memory.use_hierarchy", "1").ok();
        }
        Ok(())
    }
}

const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// A new cpuset is empty and takes no process: gives it what the group above has.
fn fill(group: &Path, file: &str, above: &Path) -> rustix::io::Result<()> {
    let own = group.join(file);
    if std::fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty())
        && let Ok(value) = std::fs::read_to_string(above.join(file))
        && !value.trim().is_empty()
    {
        return match write_raw(&own, value.trim()) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno),
        };
    }
    Ok(())
}

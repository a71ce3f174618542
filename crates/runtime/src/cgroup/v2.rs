//! Control groups of version 2: one directory, controllers switched on from the top down.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use shim_protocol::spec::Resources;

use super::{CgroupError, block_device, cpu_bandwidth, field, read, write, write_raw};
use crate::devices::DeviceRules;

/// Controllers that containers use.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The group of one container.
#[derive(Debug)]
pub(crate) struct Group {
    mount_point: PathBuf,
    parent: PathBuf,
    path: PathBuf,
}

impl Group {
    pub(super) fn new(mount_point: PathBuf, parent: &Path, id: &Path) -> Self {
        let parent = mount_point.join(parent);
        Self {
            path: parent.join(id),
            parent,
            mount_point,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open(&self) -> Result<OwnedFd, CgroupError> {
        rustix::fs::open(
            &self.path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| CgroupError::Join {
            path: self.path.clone(),
            source: error.into(),
        })
    }

    pub(super) fn make(&self, resources: &Resources) -> Result<(), CgroupError> {
        let make = |path: &Path| match rustix::fs::mkdir(path, Mode::from(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(CgroupError::Make {
                path: path.to_owned(),
                source: error.into(),
            }),
        };
        if rustix::fs::mkdir(&self.path, Mode::from(0o755)).is_ok() && self.enabled() {
            return Ok(());
        }
        loop {
            make(&self.parent)?;
            match enable(&self.mount_point, resources)
                .and_then(|()| enable(&self.parent, resources))
                .and_then(|()| make(&self.path))
            {
                // The last container before this one has taken the parent away as it went.
                Err(CgroupError::Make { source, .. } | CgroupError::Read { source, .. })
                    if matches!(
                        source.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) && self.mount_point.join("cgroup.controllers").exists() => {}
                other => return other,
            }
        }
    }

    /// Whether the engine's own group passes controllers on already.
    fn enabled(&self) -> bool {
        let words = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let on = words(self.parent.join("cgroup.subtree_control"));
        let possible = words(self.mount_point.join("cgroup.controllers"));
        CONTROLLERS
            .iter()
            .filter(|name| possible.split_whitespace().any(|word| word == **name))
            .all(|name| on.split_whitespace().any(|word| word == *name))
    }

    pub(super) fn limit(&self, resources: &Resources) -> Result<(), CgroupError> {
        let set = |controller, what, file: &str, value: &str| {
            let path = self.path.join(file);
            match write_raw(&path, value) {
                Ok(()) => Ok(()),
                Err(Errno::NOENT) => Err(CgroupError::Missing { controller, what }),
                Err(error) => Err(CgroupError::Write {
                    path,
                    value: value.to_owned(),
                    source: error.into(),
                }),
            }
        };
        let or_max = |value: i64| {
            if value < 0 {
                "max".to_owned()
            } else {
                value.to_string()
            }
        };
        let memory = resources.memory.filter(|limit| *limit != 0);
        if let Some(limit) = resources.memory_swap.filter(|limit| *limit != 0) {
            // Docker's number counts memory too, the kernel's does not.
            let swap = if limit < 0 {
                -1
            } else {
                (limit - memory.unwrap_or(0)).max(0)
            };
            match set("memory", "swap", "memory.swap.max", &or_max(swap)) {
                // A kernel without swap accounting; the memory limit alone then holds.
                Err(CgroupError::Missing { .. }) => {}
                other => other?,
            }
        }
        if let Some(limit) = memory {
            set("memory", "memory", "memory.max", &or_max(limit))?;
        }
        if let Some(limit) = resources.memory_reservation.filter(|limit| *limit != 0) {
            set("memory", "memory", "memory.low", &or_max(limit))?;
        }
        if let Some(shares) = resources.cpu_shares.filter(|shares| *shares != 0) {
            set(
                "cpu",
                "processor time",
                "cpu.weight",
                &weight(shares).to_string(),
            )?;
        }
        let (period, quota) = cpu_bandwidth(resources);
        if period.is_some() || quota.is_some() {
            let mut value = quota.map_or_else(|| "max".to_owned(), or_max);
            if let Some(period) = period {
                value = format!("{value} {period}");
            }
            set("cpu", "processor time", "cpu.max", &value)?;
        }
        let cpuset = [
            ("cpuset.cpus", &resources.cpuset_cpus),
            ("cpuset.mems", &resources.cpuset_mems),
        ];
        for (file, value) in cpuset {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                set("cpuset", "processors", file, value)?;
            }
        }
        if let Some(limit) = resources.pids_limit {
            match set(
                "pids",
                "processes",
                "pids.max",
                &or_max(if limit > 0 { limit } else { -1 }),
            ) {
                Err(CgroupError::Missing { .. }) if limit <= 0 => {}
                other => other?,
            }
        }
        if let Some(value) = resources.blkio_weight.filter(|weight| *weight != 0) {
            let what = "block input and output";
            if set("io", what, "io.bfq.weight", &value.to_string()).is_err() {
                // 10 to 1000 becomes 1 to 10000.
                let scaled = 1 + (i64::from(value) - 10).max(0) * 9999 / 990;
                set("io", what, "io.weight", &scaled.to_string())?;
            }
        }
        let throttles = [
            ("rbps", &resources.blkio_read_bps),
            ("wbps", &resources.blkio_write_bps),
            ("riops", &resources.blkio_read_iops),
            ("wiops", &resources.blkio_write_iops),
        ];
        for (key, limits) in throttles {
            for (device, rate) in limits {
                let value = format!("{} {key}={rate}", block_device(device)?);
                set("io", "block input and output", "io.max", &value)?;
            }
        }
        Ok(())
    }

    pub(super) fn limit_devices(&self, rules: &DeviceRules) -> Result<(), CgroupError> {
        let DeviceRules::Only(rules) = rules else {
            return Ok(());
        };
        let filters: Vec<_> = rules.iter().map(|rule| rule.filter()).collect();
        sys::device_filter::attach(self.open()?.as_fd(), &filters).map_err(|source| {
            CgroupError::Devices {
                path: self.path.clone(),
                source,
            }
        })
    }

    pub(super) fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let error = |errno: Errno| CgroupError::Read {
            path: self.path.join("cgroup.events"),
            source: errno.into(),
        };
        match write(
            &self.path.join("cgroup.freeze"),
            if frozen { "1" } else { "0" },
        ) {
            Ok(()) => {}
            Err(CgroupError::Write { source, .. })
                if !frozen && source.kind() == std::io::ErrorKind::NotFound =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let events = rustix::fs::open(
            self.path.join("cgroup.events"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(error)?;
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut buffer = [0; 256];
            let length = rustix::io::pread(&events, &mut buffer, 0).map_err(error)?;
            let text = String::from_utf8_lossy(&buffer[..length]);
            if field(&text, "frozen") == Some(u64::from(frozen)) {
                return Ok(());
            }
            if Instant::now() >= end {
                // Half frozen is worse than running.
                write(&self.path.join("cgroup.freeze"), "0")?;
                return Err(CgroupError::Freeze {
                    path: self.path.clone(),
                });
            }
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            let mut wait = [PollFd::new(&events, PollFlags::PRI)];
            // An interrupted or timed out wait is looked at again above.
            rustix::event::poll(&mut wait, Some(&patience)).ok();
        }
    }

    /// Kills all processes with one write. `false`: the kernel (before 5.14) cannot.
    pub(super) fn kill(&self) -> Result<bool, CgroupError> {
        let path = self.path.join("cgroup.kill");
        match write_raw(&path, "1") {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(error) => Err(CgroupError::Write {
                path,
                value: "1".to_owned(),
                source: error.into(),
            }),
        }
    }

    pub(super) fn oom_kills(&self) -> u64 {
        read(&self.path.join("memory.events"))
            .ok()
            .and_then(|text| field(&text, "oom_kill"))
            .unwrap_or(0)
    }
}

/// Lets the groups below `directory` have controllers.
///
/// A group with processes of its own (an engine inside a container that did not move away) cannot; this only matters
/// when a limit is asked for, and then it is said.
fn enable(directory: &Path, resources: &Resources) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.subtree_control");
    let possible = read(&directory.join("cgroup.controllers"))?;
    for name in CONTROLLERS
        .iter()
        .filter(|name| possible.split_whitespace().any(|word| word == **name))
    {
        match write_raw(&path, &format!("+{name}")) {
            Ok(()) => {}
            Err(_) if *resources == Resources::default() => {}
            Err(error @ (Errno::BUSY | Errno::OPNOTSUPP)) => {
                return Err(CgroupError::Write {
                    path,
                    value: format!("+{name} (the group has processes of its own)"),
                    source: error.into(),
                });
            }
            // A controller that is not needed (real-time processes keep `cpu` off) must not hinder the others;
            // the limit that needs it says what is missing.
            Err(_) => {}
        }
    }
    Ok(())
}

/// 2 to 262144 becomes 1 to 10000.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_span_the_range() {
        assert_eq!([2, 1024, 262_144, 0].map(weight), [1, 39, 10_000, 1]);
    }
}

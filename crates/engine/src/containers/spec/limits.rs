//! Limits and devices.

use std::fs;
use std::path::Path;

use shim_protocol::spec::{Device, Resources, Rlimit};

use crate::containers::config::ThrottleDevice;
use crate::containers::{ContainerError, HostConfig};

const RLIMITS: [&str; 16] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "as",
];

pub(in crate::containers) fn rlimits(host: &HostConfig) -> Result<Vec<Rlimit>, ContainerError> {
    host.ulimits
        .iter()
        .flatten()
        .map(|ulimit| {
            if !RLIMITS.contains(&ulimit.name.as_str()) {
                return Err(ContainerError::Invalid(format!(
                    "invalid ulimit type: {}",
                    ulimit.name
                )));
            }
            // -1 is unlimited, which the kernel writes as all ones.
            let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
            let (soft, hard) = (value(ulimit.soft), value(ulimit.hard));
            if soft > hard {
                return Err(ContainerError::Invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    ulimit.soft, ulimit.hard
                )));
            }
            Ok(Rlimit {
                name: ulimit.name.clone(),
                soft,
                hard,
                required: true,
            })
        })
        .collect()
}

pub(in crate::containers) fn resources(host: &HostConfig) -> Resources {
    let some = |value: i64| (value != 0).then_some(value);
    let text = |value: &String| (!value.is_empty()).then(|| value.clone());
    let throttle = |list: &Option<Vec<ThrottleDevice>>| {
        list.iter()
            .flatten()
            .map(|device| (device.path.clone(), device.rate))
            .collect()
    };
    Resources {
        memory: some(host.memory),
        memory_reservation: some(host.memory_reservation),
        memory_swap: some(host.memory_swap),
        memory_swappiness: host.memory_swappiness.filter(|&value| value >= 0),
        oom_kill_disable: host.oom_kill_disable == Some(true),
        nano_cpus: some(host.nano_cpus),
        cpu_shares: some(host.cpu_shares),
        cpu_period: some(host.cpu_period),
        cpu_quota: some(host.cpu_quota),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids_limit: host.pids_limit.filter(|&limit| limit != 0),
        blkio_weight: (host.blkio_weight != 0).then_some(host.blkio_weight),
        blkio_read_bps: throttle(&host.blkio_device_read_bps),
        blkio_write_bps: throttle(&host.blkio_device_write_bps),
        blkio_read_iops: throttle(&host.blkio_device_read_iops),
        blkio_write_iops: throttle(&host.blkio_device_write_iops),
    }
}

/// Devices of `--device`; a directory stands for all devices below it.
pub(super) fn devices(host: &HostConfig) -> Result<Vec<Device>, ContainerError> {
    let mut devices = Vec::new();
    for request in host.devices.iter().flatten() {
        let source = Path::new(&request.path_on_host);
        let target = if request.path_in_container.is_empty() {
            &request.path_on_host
        } else {
            &request.path_in_container
        };
        let access = if request.cgroup_permissions.is_empty() {
            "rwm"
        } else {
            &request.cgroup_permissions
        };
        if access.chars().any(|letter| !"rwm".contains(letter)) {
            return Err(ContainerError::Invalid(format!(
                "invalid device mode: {access}"
            )));
        }
        gather(source, target, access, &mut devices)?;
    }
    Ok(devices)
}

fn gather(
    source: &Path,
    target: &str,
    access: &str,
    devices: &mut Vec<Device>,
) -> Result<(), ContainerError> {
    use std::os::unix::fs::FileTypeExt as _;
    let failed = |source_error: std::io::Error| ContainerError::Io {
        action: format!(
            "error gathering device information while adding custom device \"{}\": {source_error}",
            source.display()
        ),
        source: source_error,
    };
    let kind = fs::metadata(source).map_err(failed)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(source).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let below = source.join(&name);
            let is_node = fs::metadata(&below).is_ok_and(|meta| {
                meta.file_type().is_char_device()
                    || meta.file_type().is_block_device()
                    || meta.is_dir()
            });
            if is_node {
                gather(
                    &below,
                    &format!("{target}/{}", name.to_string_lossy()),
                    access,
                    devices,
                )?;
            }
        }
        return Ok(());
    }
    if !(kind.is_char_device() || kind.is_block_device()) {
        return Err(ContainerError::Invalid(format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            source.display()
        )));
    }
    devices.push(Device {
        source: source.to_owned(),
        target: target.to_owned(),
        access: access.to_owned(),
    });
    Ok(())
}

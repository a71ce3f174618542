//! What a request must not say, in Docker's words, and what it is only warned about.

use crate::containers::{Config, ContainerError, HostConfig};
use crate::images::ImageForRun;

/// The smallest memory limit Docker takes.
const MIN_MEMORY: i64 = 6 << 20;

pub(super) fn platform(
    wanted: Option<&str>,
    image: &ImageForRun,
    reference: &str,
) -> Result<(), ContainerError> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(());
    };
    let mut parts = wanted.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next().unwrap_or(&image.architecture);
    if os == image.os && architecture == image.architecture {
        return Ok(());
    }
    Err(ContainerError::NotFound(format!(
        "image with reference {reference} was found but does not match the specified platform: wanted {wanted}, actual: {}/{}",
        image.os, image.architecture
    )))
}

/// Warnings, or the first contradiction.
pub(super) fn request(config: &Config, host: &HostConfig) -> Result<Vec<String>, ContainerError> {
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if empty(&config.entrypoint) && empty(&config.cmd) {
        return invalid("no command specified".to_owned());
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if let Some(entry) = config
        .env
        .iter()
        .find(|entry| entry.is_empty() || entry.starts_with('='))
    {
        return invalid(format!("invalid environment variable: {entry}"));
    }
    if let Some(signal) = config
        .stop_signal
        .as_deref()
        .filter(|signal| !signal.is_empty())
    {
        crate::containers::kill::signal_number(signal)?;
    }
    if config.stop_timeout.is_some_and(|timeout| timeout < -1) {
        return invalid("stop timeout must not be below -1".to_owned());
    }
    if host
        .device_requests
        .as_ref()
        .is_some_and(|requests| !requests.is_empty())
    {
        return invalid(
            "could not select device driver \"\" with capabilities: [[gpu]]: orlop has no GPU support".to_owned(),
        );
    }
    if !matches!(
        host.runtime.as_str(),
        "orlop" | "runc" | "io.containerd.runc.v2"
    ) {
        return invalid(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if host.userns_mode != "host" && !host.userns_mode.is_empty() {
        return invalid(format!("invalid user namespace mode: {}", host.userns_mode));
    }
    if let Some(check) = &config.healthcheck {
        crate::containers::health::validate(check)?;
    }
    super::super::spec::capabilities(host)?;
    hosts(host)?;
    for place in host.tmpfs.iter().flatten().map(|(place, _)| place) {
        if !place.starts_with('/') {
            return invalid(format!(
                "invalid mount path: '{place}' mount path must be absolute"
            ));
        }
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0".to_owned());
    }
    network(host)?;
    namespaces(host)?;
    sysctls(host)?;
    restart(host)?;
    super::super::spec::security(host)?;
    super::super::spec::log_config(host, None, config)?;
    super::super::spec::rlimits(host)?;
    limits(host)
}

/// `name:address`, or `name=address`; the address may be `host-gateway`.
fn hosts(host: &HostConfig) -> Result<(), ContainerError> {
    for entry in host.extra_hosts.iter().flatten() {
        let Some((name, address)) = entry
            .split_once(['=', ':'])
            .filter(|(name, _)| !name.is_empty())
        else {
            return Err(ContainerError::Invalid(format!(
                "bad format for add-host: \"{entry}\""
            )));
        };
        let plain = address.trim_start_matches('[').trim_end_matches(']');
        if plain != "host-gateway" && plain.parse::<std::net::IpAddr>().is_err() {
            return Err(ContainerError::Invalid(format!(
                "invalid IP address in add-host: \"{address}\" of {name}"
            )));
        }
    }
    Ok(())
}

fn network(host: &HostConfig) -> Result<(), ContainerError> {
    let mode = host.network_mode.as_str();
    let joined = mode.starts_with("container:");
    let conflict = |text: &str| {
        Err(ContainerError::Invalid(format!(
            "conflicting options: {text}"
        )))
    };
    for binding in host.port_bindings.values().flatten().flatten() {
        let ports = &binding.host_port;
        let mut ends = ports.splitn(2, '-');
        if !ports.is_empty() && ends.any(|end| end.parse::<u16>().is_err()) {
            return Err(ContainerError::Invalid(format!(
                "invalid port specification: \"{}\"",
                binding.host_port
            )));
        }
    }
    let published = !host.port_bindings.is_empty() || host.publish_all_ports;
    if joined && published {
        return conflict("port publishing and the container type network mode");
    }
    if joined && host.dns.as_ref().is_some_and(|dns| !dns.is_empty()) {
        return conflict("dns and the network mode");
    }
    if joined
        && host
            .extra_hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.is_empty())
    {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if (joined || mode == "host") && host.links.as_ref().is_some_and(|links| !links.is_empty()) {
        return conflict(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    Ok(())
}

fn namespaces(host: &HostConfig) -> Result<(), ContainerError> {
    let joins = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let modes: [(&str, &str, &[&str]); 4] = [
        (
            "IPC",
            &host.ipc_mode,
            &["private", "shareable", "host", "none"],
        ),
        ("PID", &host.pid_mode, &["", "host"]),
        ("UTS", &host.uts_mode, &["", "host"]),
        (
            "cgroup namespace",
            &host.cgroupns_mode,
            &["private", "host"],
        ),
    ];
    for (name, mode, known) in modes {
        let joined = matches!(name, "IPC" | "PID") && joins(mode);
        if !joined && !known.contains(&mode) {
            return Err(ContainerError::Invalid(format!(
                "invalid {name} mode: {mode}"
            )));
        }
    }
    Ok(())
}

/// Only what belongs to namespaces of the container's own.
fn sysctls(host: &HostConfig) -> Result<(), ContainerError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    for (key, _) in host.sysctls.iter().flatten() {
        let refuse = |why: &str| Err(ContainerError::Invalid(format!("sysctl \"{key}\" {why}")));
        let ipc = IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.");
        if ipc && host.ipc_mode == "host" {
            return refuse("not allowed in host ipc namespace");
        }
        if key.starts_with("net.") && host.network_mode == "host" {
            return refuse("not allowed in host network namespace");
        }
        if !ipc
            && !key.starts_with("net.")
            && !matches!(key.as_str(), "kernel.domainname" | "kernel.hostname")
        {
            return refuse("is not in a separate kernel namespace");
        }
    }
    Ok(())
}

/// A restart policy by itself, shared with `update`.
pub(in crate::containers) fn restart_policy(host: &HostConfig) -> Result<(), ContainerError> {
    let policy = &host.restart_policy;
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    match policy.name.as_str() {
        "no" | "always" | "unless-stopped" if policy.maximum_retry_count != 0 => {
            return invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                    .to_owned(),
            );
        }
        "no" | "always" | "unless-stopped" => {}
        "on-failure" if policy.maximum_retry_count < 0 => {
            return invalid(
                "invalid restart policy: maximum retry count cannot be negative".to_owned(),
            );
        }
        "on-failure" => {}
        other => {
            return invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    Ok(())
}

fn restart(host: &HostConfig) -> Result<(), ContainerError> {
    restart_policy(host)?;
    if host.auto_remove && host.restart_policy.name != "no" {
        return Err(ContainerError::Invalid(
            "can't create 'AutoRemove' container with restart policy".to_owned(),
        ));
    }
    Ok(())
}

/// A list as `0-2,5`; `online` is the kernel's file with what there is.
fn cpuset(what: &str, wanted: &str, online: &str) -> Result<(), ContainerError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let kind = if what == "CPUs" { "cpus" } else { "mems" };
    let Some(asked) = numbers(wanted) else {
        return Err(ContainerError::Invalid(format!(
            "Invalid value {wanted} for cpuset {kind}: invalid format: {wanted}"
        )));
    };
    // A kernel without the file has one node, and says so by refusing the others.
    let Ok(available) = std::fs::read_to_string(online) else {
        return Ok(());
    };
    let available = available.trim();
    if numbers(available).is_some_and(|available| !asked.is_subset(&available)) {
        return Err(ContainerError::Invalid(format!(
            "Requested {what} are not available - requested {wanted}, available: {available}"
        )));
    }
    Ok(())
}

fn numbers(list: &str) -> Option<std::collections::BTreeSet<u16>> {
    let mut found = std::collections::BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        found.extend(first..=last);
    }
    Some(found)
}

/// Limits, shared with `update`.
pub(in crate::containers) fn limits(host: &HostConfig) -> Result<Vec<String>, ContainerError> {
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    if host.memory != 0 && host.memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB".to_owned());
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
                .to_owned(),
        );
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage".to_owned(),
        );
    }
    if host.memory_reservation > 0 && host.memory_reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB".to_owned());
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
                .to_owned(),
        );
    }
    if host
        .memory_swappiness
        .is_some_and(|value| !(-1..=100).contains(&value))
    {
        return invalid(format!(
            "Invalid value: {}, valid memory swappiness range is 0-100",
            host.memory_swappiness.unwrap_or_default()
        ));
    }
    if host.nano_cpus != 0 {
        if host.cpu_period != 0 {
            return invalid(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned(),
            );
        }
        if host.cpu_quota != 0 {
            return invalid(
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned(),
            );
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let most = i64::try_from(cpus)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        if host.nano_cpus < 0 || host.nano_cpus > most {
            return invalid(format!(
                "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned(),
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    for (what, wanted, online) in [
        ("CPUs", &host.cpuset_cpus, "/sys/devices/system/cpu/online"),
        (
            "memory nodes",
            &host.cpuset_mems,
            "/sys/devices/system/node/online",
        ),
    ] {
        cpuset(what, wanted, online)?;
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000.".to_owned());
    }
    let mut warnings = Vec::new();
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    Ok(warnings)
}

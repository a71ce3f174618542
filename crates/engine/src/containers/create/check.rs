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
    network(host)?;
    namespaces(host)?;
    sysctls(host)?;
    restart(host)?;
    super::super::spec::security(host)?;
    super::super::spec::log_config(host, None, config)?;
    super::super::spec::rlimits(host)?;
    limits(host)
}

fn network(host: &HostConfig) -> Result<(), ContainerError> {
    let mode = host.network_mode.as_str();
    let joined = mode.starts_with("container:");
    let conflict = |text: &str| {
        Err(ContainerError::Invalid(format!(
            "conflicting options: {text}"
        )))
    };
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

fn restart(host: &HostConfig) -> Result<(), ContainerError> {
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
    if host.auto_remove && policy.name != "no" {
        return invalid("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    Ok(())
}

/// Limits, shared with `update`.
pub(in crate::containers) fn limits(host: &HostConfig) -> Result<Vec<String>, ContainerError> {
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    if host.memory > 0 && host.memory < MIN_MEMORY {
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
            "invalid value: {}, valid memory swappiness range is 0-100",
            host.memory_swappiness.unwrap_or_default()
        ));
    }
    if host.nano_cpus != 0 {
        if host.cpu_period != 0 {
            return invalid(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set.".to_owned(),
            );
        }
        if host.cpu_quota != 0 {
            return invalid(
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set.".to_owned(),
            );
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let most = i64::try_from(cpus)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        if host.nano_cpus < 0 || host.nano_cpus > most {
            return invalid(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
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
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000].",
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

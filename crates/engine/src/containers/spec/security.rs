//! `--security-opt`, and the paths of /proc and /sys that a container must not see or write.

use shim_protocol::spec::Seccomp;

use crate::containers::{ContainerError, HostConfig};

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

#[derive(Debug)]
pub(in crate::containers) struct Security {
    pub(in crate::containers) seccomp: Seccomp,
    pub(in crate::containers) no_new_privileges: bool,
    pub(in crate::containers) apparmor_profile: Option<String>,
    pub(in crate::containers) masked_paths: Vec<String>,
    pub(in crate::containers) readonly_paths: Vec<String>,
}

pub(in crate::containers) fn security(host: &HostConfig) -> Result<Security, ContainerError> {
    let list = |paths: &[&str]| {
        paths
            .iter()
            .map(|&path| path.to_owned())
            .collect::<Vec<_>>()
    };
    let mut security = Security {
        seccomp: if host.privileged {
            Seccomp::Unconfined
        } else {
            Seccomp::Default
        },
        no_new_privileges: false,
        apparmor_profile: None,
        masked_paths: host.masked_paths.clone().unwrap_or_else(|| list(&MASKED)),
        readonly_paths: host
            .readonly_paths
            .clone()
            .unwrap_or_else(|| list(&READONLY)),
    };
    if host.privileged {
        security.masked_paths.clear();
        security.readonly_paths.clear();
    }
    for option in host.security_opt.iter().flatten() {
        let invalid = || ContainerError::Invalid(format!("invalid --security-opt 2: \"{option}\""));
        if option == "no-new-privileges" {
            security.no_new_privileges = true;
            continue;
        }
        let (key, value) = option.split_once(['=', ':']).ok_or_else(|| {
            ContainerError::Invalid(format!("invalid --security-opt 1: \"{option}\""))
        })?;
        match key {
            "seccomp" if value == "unconfined" => security.seccomp = Seccomp::Unconfined,
            "seccomp" if value == "builtin" => security.seccomp = Seccomp::Default,
            "seccomp" => {
                serde_json::from_str::<serde_json::Value>(value).map_err(|error| {
                    ContainerError::Invalid(format!("decoding seccomp profile failed: {error}"))
                })?;
                security.seccomp = Seccomp::Profile(value.to_owned());
            }
            "no-new-privileges" => {
                security.no_new_privileges = value.parse().map_err(|_| invalid())?;
            }
            "apparmor" => {
                security.apparmor_profile = (value != "unconfined").then(|| value.to_owned());
            }
            "systempaths" if value == "unconfined" => {
                security.masked_paths.clear();
                security.readonly_paths.clear();
            }
            // SELinux labels have no effect where SELinux is off, as in Docker.
            "label" | "writable-cgroups" => {}
            _ => return Err(invalid()),
        }
    }
    Ok(security)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[&str]) -> Result<Security, ContainerError> {
        security(&HostConfig {
            security_opt: Some(options.iter().map(|&option| option.to_owned()).collect()),
            ..HostConfig::default()
        })
    }

    #[test]
    fn options() {
        assert!(
            with(&["no-new-privileges"])
                .expect("valid")
                .no_new_privileges
        );
        assert!(
            !with(&["no-new-privileges=false"])
                .expect("valid")
                .no_new_privileges
        );
        assert_eq!(
            with(&["seccomp=unconfined"]).expect("valid").seccomp,
            Seccomp::Unconfined
        );
        assert!(
            with(&["systempaths=unconfined"])
                .expect("valid")
                .masked_paths
                .is_empty()
        );
        assert_eq!(
            with(&["foo"]).expect_err("no value").to_string(),
            "invalid --security-opt 1: \"foo\""
        );
        assert_eq!(
            with(&["foo=bar"]).expect_err("unknown").to_string(),
            "invalid --security-opt 2: \"foo=bar\""
        );
    }
}

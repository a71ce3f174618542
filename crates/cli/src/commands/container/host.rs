//! `HostConfig`: what a container gets of its host.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::{Volumes, all};
use super::flags::Flags;
use crate::failure::{Failure, Outcome};
use crate::parse::network::{self, Attachment};
use crate::parse::{devices, mount, ports::Ports, size};

/// `key=value` flags as a map.
fn pairs(list: &[String]) -> BTreeMap<&str, &str> {
    list.iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .collect()
}

fn bytes(flag: &str, text: Option<&String>) -> Outcome<i64> {
    text.map_or(Ok(0), |text| {
        size::bytes(text).map_err(|why| Failure::flag(flag, text, why))
    })
}

impl Flags {
    pub(super) fn host_config(
        &self,
        volumes: &Volumes,
        published: &Ports,
        networks: &[Attachment],
        directory: &Path,
    ) -> Outcome<Value> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let tmpfs: BTreeMap<&str, &str> = self
            .tmpfs
            .iter()
            .map(|spec| spec.split_once(':').unwrap_or((spec, "")))
            .collect();
        let (cap_add, cap_drop) = devices::capabilities(&self.cap_add, &self.cap_drop);
        let restart = devices::restart(&self.restart).map_err(Failure::new)?;
        let mut config = json!({
            "Binds": volumes.binds,
            "Mounts": all("--mount", &self.mount, |text| mount::parse(text, directory))?,
            "Tmpfs": tmpfs,
            "VolumesFrom": self.volumes_from,
            "VolumeDriver": text(&self.volume_driver),
            "ContainerIDFile": text(&self.cidfile),
            "NetworkMode": networks.first().map_or("default", |network| &network.name),
            "PortBindings": published.bindings,
            "PublishAllPorts": self.publish_all,
            "Links": self.link,
            "Dns": all("--dns", &self.dns, network::address)?,
            "DnsOptions": self.dns_option,
            "DnsSearch": self.dns_search,
            "ExtraHosts": all("--add-host", &self.add_host, network::extra_host)?,
            "RestartPolicy": restart,
            "AutoRemove": self.rm,
            "Privileged": self.privileged,
            "ReadonlyRootfs": self.read_only,
            "CapAdd": cap_add,
            "CapDrop": cap_drop,
            "GroupAdd": self.group_add,
            "Init": self.init.then_some(true),
            "IpcMode": text(&self.ipc),
            "PidMode": text(&self.pid),
            "UTSMode": text(&self.uts),
            "CgroupnsMode": text(&self.cgroupns),
            "UsernsMode": text(&self.userns),
            "Sysctls": self.sysctls()?,
            "Annotations": pairs(&self.annotation),
            "StorageOpt": self.storage_options()?,
            "LogConfig": { "Type": text(&self.log_driver), "Config": pairs(&self.log_opt) },
            "Isolation": text(&self.isolation),
            "Runtime": text(&self.runtime),
        });
        let map = config.as_object_mut().expect("made as an object");
        for (key, policy) in [
            ("BindMissing", &self.bind_missing),
            ("SafetySnapshot", &self.safety_snapshot),
        ] {
            if let Some(policy) = policy {
                map.insert(key.to_owned(), json!(policy));
            }
        }
        if self.exclusive {
            map.insert("ExclusiveVolumes".to_owned(), json!(true));
        }
        if let Some(policy) = &self.image_volumes {
            map.insert("ImageVolumes".to_owned(), json!(policy));
        }
        self.limits(map)?;
        self.security(map)?;
        if self.tty
            && let Some((rows, columns)) = crate::terminal::size()
        {
            map.insert("ConsoleSize".to_owned(), json!([rows, columns]));
        }
        Ok(config)
    }

    fn limits(&self, map: &mut Map<String, Value>) -> Outcome<()> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (cdi, files): (Vec<String>, Vec<String>) = self
            .device
            .iter()
            .cloned()
            .partition(|device| devices::is_cdi(device));
        let files = files
            .iter()
            .map(|device| devices::device(device).map_err(Failure::new))
            .collect::<Outcome<Vec<Value>>>()?;
        let cpus = self.cpus.as_ref().map_or(Ok(0), |cpus| {
            size::nano_cpus(cpus).map_err(|why| Failure::flag("--cpus", cpus, why))
        })?;
        let swap = match self.memory_swap.as_deref() {
            Some("-1") => -1,
            _ => bytes("--memory-swap", self.memory_swap.as_ref())?,
        };
        let limits = json!({
            "ShmSize": bytes("--shm-size", self.shm_size.as_ref())?,
            "Ulimits": all("--ulimit", &self.ulimit, devices::ulimit)?,
            "Devices": files,
            "DeviceRequests": (!cdi.is_empty()).then(|| json!([{ "Driver": "cdi", "DeviceIDs": cdi }])),
            "DeviceCgroupRules": all("--device-cgroup-rule", &self.device_cgroup_rule, devices::cgroup_rule)?,
            "CgroupParent": text(&self.cgroup_parent),
            "OomScoreAdj": self.oom_score_adj.unwrap_or(0),
            "OomKillDisable": self.oom_kill_disable.then_some(true),
            "Memory": bytes("-m, --memory", self.memory.as_ref())?,
            "MemoryReservation": bytes("--memory-reservation", self.memory_reservation.as_ref())?,
            "MemorySwap": swap,
            "MemorySwappiness": self.swappiness(),
            "NanoCpus": cpus,
            "CpuShares": self.cpu_shares.unwrap_or(0),
            "CpuPeriod": self.cpu_period.unwrap_or(0),
            "CpuQuota": self.cpu_quota.unwrap_or(0),
            "CpuRealtimePeriod": self.cpu_rt_period.unwrap_or(0),
            "CpuRealtimeRuntime": self.cpu_rt_runtime.unwrap_or(0),
            "CpusetCpus": text(&self.cpuset_cpus),
            "CpusetMems": text(&self.cpuset_mems),
            "PidsLimit": self.pids_limit,
            "BlkioWeight": self.blkio_weight.unwrap_or(0),
            "BlkioWeightDevice": all("--blkio-weight-device", &self.blkio_weight_device, devices::weight)?,
            "BlkioDeviceReadBps": all("--device-read-bps", &self.device_read_bps, devices::bytes_rate)?,
            "BlkioDeviceWriteBps": all("--device-write-bps", &self.device_write_bps, devices::bytes_rate)?,
            "BlkioDeviceReadIOps": all("--device-read-iops", &self.device_read_iops, devices::operations_rate)?,
            "BlkioDeviceWriteIOps": all("--device-write-iops", &self.device_write_iops, devices::operations_rate)?,
        });
        if let Value::Object(limits) = limits {
            map.extend(limits);
        }
        Ok(())
    }

    fn sysctls(&self) -> Outcome<BTreeMap<&str, &str>> {
        const ALLOWED: [&str; 8] = [
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
        ];
        for entry in &self.sysctl {
            let allowed = entry.split_once('=').is_some_and(|(name, _)| {
                ALLOWED.contains(&name)
                    || name.starts_with("net.")
                    || name.starts_with("fs.mqueue.")
            });
            if !allowed {
                return Err(Failure::flag(
                    "--sysctl",
                    entry,
                    format!("sysctl '{entry}' is not allowed"),
                ));
            }
        }
        Ok(pairs(&self.sysctl))
    }

    fn storage_options(&self) -> Outcome<BTreeMap<&str, &str>> {
        if self.storage_opt.iter().any(|option| !option.contains('=')) {
            return Err(Failure::new("invalid storage option"));
        }
        Ok(pairs(&self.storage_opt))
    }

    /// A seccomp profile is named by a file here, and sent as its contents; unconfined system paths are two empty lists.
    fn security(&self, map: &mut Map<String, Value>) -> Outcome<()> {
        let mut options = Vec::new();
        for option in &self.security_opt {
            if option == "systempaths=unconfined" {
                map.insert("MaskedPaths".to_owned(), json!([]));
                map.insert("ReadonlyPaths".to_owned(), json!([]));
                continue;
            }
            let (key, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .unwrap_or((option, ""));
            if value.is_empty() && key != "no-new-privileges" {
                return Err(Failure::new(format!(
                    "Invalid --security-opt: \"{option}\""
                )));
            }
            if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
                options.push(option.clone());
                continue;
            }
            let profile = std::fs::read_to_string(value).map_err(|error| {
                let why = Failure::file("open", value, &error);
                Failure::new(format!("opening seccomp profile ({value}) failed: {why}"))
            })?;
            let compact: Value = serde_json::from_str(&profile).map_err(|error| {
                Failure::new(format!(
                    "compacting json for seccomp profile ({value}) failed: {error}"
                ))
            })?;
            options.push(format!("seccomp={compact}"));
        }
        map.insert("SecurityOpt".to_owned(), json!(options));
        Ok(())
    }
}

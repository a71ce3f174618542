//! From the flags of `run` to the body of `POST /containers/create`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::flags::Flags;
use crate::failure::{Failure, Outcome};
use crate::parse::{devices, environment, mount, ports::Ports, size, volume};

/// Wraps a parser's sentence as docker does for a flag.
fn flag<T>(name: &str, value: &str, parsed: Result<T, String>) -> Outcome<T> {
    parsed.map_err(|why| {
        Failure::new(format!(
            "invalid argument \"{value}\" for \"{name}\" flag: {why}"
        ))
    })
}

fn bytes(name: &str, text: Option<&String>) -> Outcome<i64> {
    text.map_or(Ok(0), |text| flag(name, text, size::bytes(text)))
}

fn all<T>(
    name: &str,
    list: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Outcome<Vec<T>> {
    list.iter()
        .map(|text| flag(name, text, parse(text)))
        .collect()
}

/// The client's directory, for paths that begin with a dot.
#[expect(
    clippy::disallowed_methods,
    reason = "a person's relative path is relative to where the person is"
)]
fn here() -> Outcome<PathBuf> {
    Ok(std::env::current_dir()?)
}

impl Flags {
    /// Attached streams as docker decides them: standard input only with `-i`, outputs unless `-a` or detached.
    pub(super) fn attached(&self, detach: bool) -> (bool, bool, bool) {
        if detach {
            return (false, false, false);
        }
        if self.attach.is_empty() {
            return (self.interactive, true, true);
        }
        let has = |name: &str| {
            self.attach
                .iter()
                .any(|stream| stream.eq_ignore_ascii_case(name))
        };
        (has("stdin"), has("stdout"), has("stderr"))
    }

    /// The request body.
    pub(super) fn body(&self, detach: bool) -> Outcome<Value> {
        if self.gpus.is_some() {
            return Err(Failure::new(
                "could not select device driver \"\" with capabilities: [[gpu]]: orlop has no GPU support; use --device for single devices",
            ));
        }
        if detach && !self.attach.is_empty() {
            return Err(Failure::new("Conflicting options: -a and -d"));
        }
        if detach && self.rm && self.restart != "no" && !self.restart.is_empty() {
            return Err(Failure::new("Conflicting options: --restart and --rm"));
        }
        if self.rm && self.restart != "no" && !self.restart.is_empty() {
            return Err(Failure::new("Conflicting options: --restart and --rm"));
        }
        let directory = here()?;
        let mut anonymous: Map<String, Value> = Map::new();
        let mut binds: Vec<String> = Vec::new();
        for spec in &self.volume {
            match volume::parse(spec, &directory).map_err(Failure::new)? {
                volume::Volume::Anonymous(destination) => {
                    anonymous.insert(destination, json!({}));
                }
                volume::Volume::Bind(bind) if binds.contains(&bind) => {}
                volume::Volume::Bind(bind) => binds.push(bind),
            }
        }
        let mut published = Ports::default();
        for spec in &self.publish {
            published.publish(spec).map_err(|why| {
                Failure::new(format!(
                    "invalid argument \"{spec}\" for \"-p, --publish\" flag: {why}"
                ))
            })?;
        }
        for spec in &self.expose {
            published.expose(spec).map_err(Failure::new)?;
        }
        let (stdin, stdout, stderr) = self.attached(detach);
        let mut body = json!({
            "Hostname": self.hostname.clone().unwrap_or_default(),
            "Domainname": self.domainname.clone().unwrap_or_default(),
            "User": self.user.clone().unwrap_or_default(),
            "AttachStdin": stdin,
            "AttachStdout": stdout,
            "AttachStderr": stderr,
            "ExposedPorts": published.exposed,
            "Tty": self.tty,
            "OpenStdin": self.interactive,
            "StdinOnce": self.interactive && stdin && !detach,
            "Env": environment::environment(&self.env_file, &self.env)?,
            "Cmd": (!self.command.is_empty()).then_some(&self.command),
            "Image": self.image,
            "Volumes": anonymous,
            "WorkingDir": self.workdir.clone().unwrap_or_default(),
            "Entrypoint": self.entrypoint.as_ref().map(|entrypoint| vec![entrypoint]),
            "Labels": environment::labels(&self.label_file, &self.label)?,
        });
        if let Some(signal) = &self.stop_signal {
            body["StopSignal"] = json!(signal);
        }
        if let Some(timeout) = self.stop_timeout {
            body["StopTimeout"] = json!(timeout);
        }
        if self.no_healthcheck {
            body["Healthcheck"] = json!({ "Test": ["NONE"] });
        }
        body["HostConfig"] = self.host_config(&binds, &published, &directory)?;
        Ok(body)
    }

    fn host_config(
        &self,
        binds: &[String],
        published: &Ports,
        directory: &std::path::Path,
    ) -> Outcome<Value> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut tmpfs: BTreeMap<&str, &str> = BTreeMap::new();
        for spec in &self.tmpfs {
            let (path, options) = spec.split_once(':').unwrap_or((spec, ""));
            tmpfs.insert(path, options);
        }
        let pairs = |list: &[String]| -> BTreeMap<String, String> {
            list.iter()
                .map(|entry| {
                    let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
                    (key.to_owned(), value.to_owned())
                })
                .collect()
        };
        let console = crate::terminal::size()
            .filter(|_| self.tty)
            .map_or([0, 0], |(rows, columns)| [rows, columns]);
        let mut config = json!({
            "Binds": binds,
            "Mounts": all("--mount", &self.mount, |text| mount::parse(text, directory))?,
            "Tmpfs": tmpfs,
            "VolumesFrom": self.volumes_from,
            "VolumeDriver": text(&self.volume_driver),
            "NetworkMode": self.network.clone().unwrap_or_else(|| "default".to_owned()),
            "PortBindings": published.bindings,
            "PublishAllPorts": self.publish_all,
            "Links": self.link,
            "Dns": self.dns,
            "DnsOptions": self.dns_option,
            "DnsSearch": self.dns_search,
            "ExtraHosts": self.add_host,
            "RestartPolicy": flag("--restart", &self.restart, devices::restart(&self.restart))?,
            "AutoRemove": self.rm,
            "Privileged": self.privileged,
            "ReadonlyRootfs": self.read_only,
            "CapAdd": self.cap_add,
            "CapDrop": self.cap_drop,
            "SecurityOpt": self.security_options()?,
            "GroupAdd": self.group_add,
            "Init": self.init.then_some(true),
            "IpcMode": text(&self.ipc),
            "PidMode": text(&self.pid),
            "UTSMode": text(&self.uts),
            "CgroupnsMode": text(&self.cgroupns),
            "UsernsMode": text(&self.userns),
            "Sysctls": pairs(&self.sysctl),
        });
        // In two parts: the macro has a limit.
        let limits = json!({
            "ShmSize": bytes("--shm-size", self.shm_size.as_ref())?,
            "Ulimits": all("--ulimit", &self.ulimit, devices::ulimit)?,
            "Devices": all("--device", &self.device, devices::device)?,
            "DeviceCgroupRules": self.device_cgroup_rule,
            "LogConfig": { "Type": text(&self.log_driver), "Config": pairs(&self.log_opt) },
            "OomScoreAdj": self.oom_score_adj.unwrap_or(0),
            "OomKillDisable": self.oom_kill_disable.then_some(true),
            "Memory": bytes("-m, --memory", self.memory.as_ref())?,
            "MemoryReservation": bytes("--memory-reservation", self.memory_reservation.as_ref())?,
            "MemorySwap": bytes("--memory-swap", self.memory_swap.as_ref())?,
            "MemorySwappiness": self.memory_swappiness,
            "NanoCpus": self.cpus.as_ref().map_or(Ok(0), |cpus| flag("--cpus", cpus, size::nano_cpus(cpus)))?,
            "CpuShares": self.cpu_shares.unwrap_or(0),
            "CpuPeriod": self.cpu_period.unwrap_or(0),
            "CpuQuota": self.cpu_quota.unwrap_or(0),
            "CpusetCpus": text(&self.cpuset_cpus),
            "CpusetMems": text(&self.cpuset_mems),
            "PidsLimit": self.pids_limit,
            "BlkioWeight": self.blkio_weight.unwrap_or(0),
            "BlkioDeviceReadBps": all("--device-read-bps", &self.device_read_bps, |text| devices::throttle(text, true))?,
            "BlkioDeviceWriteBps": all("--device-write-bps", &self.device_write_bps, |text| devices::throttle(text, true))?,
            "BlkioDeviceReadIOps": all("--device-read-iops", &self.device_read_iops, |text| devices::throttle(text, false))?,
            "BlkioDeviceWriteIOps": all("--device-write-iops", &self.device_write_iops, |text| devices::throttle(text, false))?,
            "Runtime": text(&self.runtime),
            "ConsoleSize": console,
        });
        let map = config.as_object_mut().expect("made as an object");
        map.extend(limits.as_object().cloned().unwrap_or_default());
        Ok(config)
    }

    /// A seccomp profile is named by a file here, and sent as its contents.
    fn security_options(&self) -> Outcome<Vec<String>> {
        self.security_opt
            .iter()
            .map(|option| {
                match option
                    .strip_prefix("seccomp=")
                    .or_else(|| option.strip_prefix("seccomp:"))
                {
                    Some(file) if !matches!(file, "unconfined" | "builtin") => {
                        let profile = std::fs::read_to_string(file).map_err(|error| {
                            Failure::new(format!(
                                "opening seccomp profile ({file}) failed: {error}"
                            ))
                        })?;
                        let compact: Value = serde_json::from_str(&profile).map_err(|error| {
                            Failure::new(format!(
                                "compacting json for seccomp profile ({file}) failed: {error}"
                            ))
                        })?;
                        Ok(format!("seccomp={compact}"))
                    }
                    _ => Ok(option.clone()),
                }
            })
            .collect()
    }
}

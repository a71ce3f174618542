//! From the flags of `run` and `create` to the body of `POST /containers/create`.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::flags::Flags;
use crate::failure::{Failure, Outcome};
use crate::parse::network::{self, Attachment};
use crate::parse::{duration, environment, ports::Ports, volume};

/// Reads each value of a flag; the first wrong one is told with the usage.
pub(super) fn all<T>(
    flag: &str,
    list: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Outcome<Vec<T>> {
    list.iter()
        .map(|text| parse(text).map_err(|why| Failure::flag(flag, text, why)))
        .collect()
}

/// The client's directory, for paths that begin with a dot.
#[expect(
    clippy::disallowed_methods,
    reason = "a person's relative path is relative to where the person is"
)]
pub(super) fn here() -> Outcome<PathBuf> {
    Ok(std::env::current_dir()?)
}

/// What `-v` flags ask for.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) anonymous: Map<String, Value>,
    pub(super) binds: Vec<String>,
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
        self.refuse()?;
        let directory = here()?;
        let volumes = self.volumes(&directory)?;
        let mut published = Ports::default();
        for spec in &self.publish {
            published.publish(spec).map_err(Failure::new)?;
        }
        for spec in &self.expose {
            published.expose(spec).map_err(Failure::new)?;
        }
        let networks = self.networks()?;
        let (stdin, stdout, stderr) = self.attached(detach);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut body = json!({
            "Hostname": text(&self.hostname),
            "Domainname": text(&self.domainname),
            "User": text(&self.user),
            "AttachStdin": stdin,
            "AttachStdout": stdout,
            "AttachStderr": stderr,
            "ExposedPorts": published.exposed,
            "Tty": self.tty,
            "OpenStdin": self.interactive,
            "StdinOnce": self.interactive && stdin && !detach,
            "Env": environment::environment(&self.env_file, &self.env)?,
            "Cmd": (!self.command().is_empty()).then_some(self.command()),
            "Image": self.image(),
            "Volumes": volumes.anonymous,
            "WorkingDir": text(&self.workdir),
            "Entrypoint": self.entrypoint.as_ref().map(|entrypoint| [entrypoint]),
            "Labels": environment::labels(&self.label_file, &self.label)?,
        });
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[key] = value;
            }
        };
        set(
            "StopSignal",
            self.stop_signal.as_ref().map(|signal| json!(signal)),
        );
        set(
            "StopTimeout",
            self.stop_timeout.map(|timeout| json!(timeout)),
        );
        set("Healthcheck", self.health()?);
        set(
            "HostConfig",
            Some(self.host_config(&volumes, &published, &networks, &directory)?),
        );
        set("NetworkingConfig", endpoints(&networks));
        Ok(body)
    }

    /// What cannot be, or cannot be together.
    fn refuse(&self) -> Outcome<()> {
        let refused = |text: &str| Err(Failure::new(text));
        if self.gpus.is_some() {
            return refused(
                "could not select device driver \"\" with capabilities: [[gpu]]: orlop has no GPU support; use --device for single devices",
            );
        }
        for (name, given) in [
            ("cpu-count", self.cpu_count.is_some()),
            ("cpu-percent", self.cpu_percent.is_some()),
            ("io-maxbandwidth", self.io_maxbandwidth.is_some()),
            ("io-maxiops", self.io_maxiops.is_some()),
        ] {
            if given {
                return Err(Failure::new(format!(
                    "\"--{name}\" is only supported on windows, but the engine is running on linux"
                )));
            }
        }
        let streams = ["stdin", "stdout", "stderr"];
        if let Some(stream) = self
            .attach
            .iter()
            .find(|stream| !streams.contains(&stream.to_lowercase().as_str()))
        {
            return Err(Failure::flag(
                "-a, --attach",
                stream,
                "valid streams are STDIN, STDOUT and STDERR",
            ));
        }
        if self.rm && !matches!(self.restart.as_str(), "" | "no") {
            return refused("conflicting options: cannot specify both --restart and --rm");
        }
        if self
            .swappiness()
            .is_some_and(|value| !(-1..=100).contains(&value))
        {
            return Err(Failure::new(format!(
                "invalid value: {}. Valid memory swappiness range is 0-100",
                self.swappiness().unwrap_or_default()
            )));
        }
        let of_container = |mode: &str| {
            mode.strip_prefix("container:")
                .is_some_and(|name| !name.is_empty())
        };
        for (flag, kind, mode, valid) in [
            (
                "cgroupns",
                "CGROUP",
                &self.cgroupns,
                &["", "host", "private"][..],
            ),
            ("pid", "PID", &self.pid, &["", "host"]),
            ("uts", "UTS", &self.uts, &["", "host"]),
            ("userns", "USER", &self.userns, &["", "host"]),
        ] {
            if let Some(mode) = mode
                && !valid.contains(&mode.as_str())
                && !(flag == "pid" && of_container(mode))
            {
                return Err(Failure::new(format!("--{flag}: invalid {kind} mode")));
            }
        }
        if self.log_driver.as_deref() == Some("none") && !self.log_opt.is_empty() {
            return refused("invalid logging opts for driver none");
        }
        if let Some(pull) = &self.pull
            && !matches!(pull.as_str(), "always" | "missing" | "never")
        {
            return Err(Failure::new(format!(
                "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
            )));
        }
        if self.image().is_empty() {
            return refused("invalid reference format");
        }
        Ok(())
    }

    /// The given value; -1 is docker's word for none.
    pub(super) fn swappiness(&self) -> Option<i64> {
        self.memory_swappiness.filter(|&value| value != -1)
    }

    fn volumes(&self, directory: &std::path::Path) -> Outcome<Volumes> {
        let mut volumes = Volumes::default();
        for spec in &self.volume {
            match volume::parse(spec, directory).map_err(Failure::new)? {
                volume::Volume::Anonymous(destination) => {
                    volumes.anonymous.insert(destination, json!({}));
                }
                volume::Volume::Bind(bind) if volumes.binds.contains(&bind) => {}
                volume::Volume::Bind(bind) => volumes.binds.push(bind),
            }
        }
        Ok(volumes)
    }

    /// The networks to connect to; flags for a single one go to the first.
    fn networks(&self) -> Outcome<Vec<Attachment>> {
        let mut networks = all("--network", &self.network, Attachment::parse)?;
        if networks.is_empty() {
            networks.push(Attachment {
                name: "default".to_owned(),
                ..Attachment::default()
            });
        }
        let first = networks.first_mut().expect("one was pushed at least");
        first.aliases.extend(self.network_alias.iter().cloned());
        first.link_local.extend(self.link_local_ip.iter().cloned());
        if let Some(ip) = &self.ip {
            first.ip = Some(ip.clone());
        }
        if let Some(ip) = &self.ip6 {
            first.ip6 = Some(ip.clone());
        }
        if let Some(mac) = &self.mac_address {
            first.mac = Some(network::mac(mac).map_err(Failure::new)?);
        }
        if first.is_user_defined() {
            first.links.extend(self.link.iter().cloned());
        } else if !first.aliases.is_empty() {
            return Err(Failure::new(
                "network-scoped aliases are only supported for user-defined networks",
            ));
        }
        Ok(networks)
    }

    fn health(&self) -> Outcome<Option<Value>> {
        let durations = [
            ("health-interval", "Interval", &self.health_interval),
            ("health-timeout", "Timeout", &self.health_timeout),
            (
                "health-start-period",
                "StartPeriod",
                &self.health_start_period,
            ),
            (
                "health-start-interval",
                "StartInterval",
                &self.health_start_interval,
            ),
        ];
        let any = self.health_cmd.is_some()
            || self.health_retries.is_some()
            || durations.iter().any(|(_, _, value)| value.is_some());
        if self.no_healthcheck {
            return if any {
                Err(Failure::new(
                    "--no-healthcheck conflicts with --health-* options",
                ))
            } else {
                Ok(Some(json!({ "Test": ["NONE"] })))
            };
        }
        if !any {
            return Ok(None);
        }
        let mut check = json!({});
        if let Some(command) = &self.health_cmd {
            check["Test"] = json!(["CMD-SHELL", command]);
        }
        for (flag, key, value) in durations {
            if let Some(text) = value {
                let length = duration::nanoseconds(text)
                    .map_err(|why| Failure::flag(&format!("--{flag}"), text, why))?;
                if length < 0 {
                    return Err(Failure::new(format!("--{flag} cannot be negative")));
                }
                check[key] = json!(length);
            }
        }
        if let Some(retries) = self.health_retries {
            if retries < 0 {
                return Err(Failure::new("--health-retries cannot be negative"));
            }
            check["Retries"] = json!(retries);
        }
        Ok(Some(check))
    }
}

/// Nothing is sent for a single network without wishes: its name is in `HostConfig.NetworkMode`.
fn endpoints(networks: &[Attachment]) -> Option<Value> {
    let plain = json!({});
    let settings: Map<String, Value> = networks
        .iter()
        .map(|network| (network.name.clone(), network.settings()))
        .collect();
    (settings.len() > 1 || settings.values().any(|one| *one != plain))
        .then(|| json!({ "EndpointsConfig": settings }))
}

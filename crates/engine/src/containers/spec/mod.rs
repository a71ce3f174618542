//! From a container's configuration to the [`RunSpec`] of one start: every default applied, every name resolved.

use shim_protocol::RunSpec;
use shim_protocol::spec::{
    Mount, Namespaces, Network, NetworkNs, NsMode, Process, Propagation, RestartPolicy, RootFs,
};
use store::ContainerRow;

use super::config::{Config, HostConfig};
use super::find::Columns as _;
use super::{ContainerError, Containers, Status};

mod capabilities;
mod limits;
mod log;
mod security;

pub(super) use capabilities::capabilities;
pub(super) use limits::{resources, rlimits};
pub(super) use log::log_config;
pub(super) use security::security;

/// Parts of a start that are made at that start.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Directories of the layers, topmost first.
    pub(crate) lowers: Vec<std::path::PathBuf>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) network: Network,
    /// Environment of linked containers.
    pub(crate) link_env: Vec<String>,
}

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SIGTERM: i32 = 15;

impl Containers {
    pub(crate) fn run_spec(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
        prepared: Prepared,
    ) -> Result<RunSpec, ContainerError> {
        let security = security(host)?;
        let process = Process {
            args: config
                .entrypoint
                .iter()
                .chain(&config.cmd)
                .flatten()
                .cloned()
                .collect(),
            env: environment(config, prepared.link_env.clone()),
            cwd: if config.working_dir.is_empty() {
                "/".to_owned()
            } else {
                config.working_dir.clone()
            },
            user: config.user.clone(),
            additional_groups: host.group_add.clone().unwrap_or_default(),
            tty: config.tty,
            console_size: console_size(host.console_size),
            capabilities: capabilities(host)?,
            no_new_privileges: security.no_new_privileges,
            seccomp: security.seccomp,
            rlimits: rlimits(host)?,
            apparmor_profile: security.apparmor_profile,
        };
        let probe = Process {
            env: environment(
                &Config {
                    tty: false,
                    ..config.clone()
                },
                prepared.link_env,
            ),
            ..process.clone()
        };
        let propagation = if prepared.mounts.iter().any(shares_with_host) {
            Propagation::Rslave
        } else {
            Propagation::Rprivate
        };
        Ok(RunSpec {
            id: row.id.clone(),
            tag: self.paths.tag().to_owned(),
            run_dir: self.paths.run(&row.id),
            root: RootFs {
                layers_dir: self.paths.layers(),
                lowers: prepared.lowers,
                upper: self.paths.container_upper(&row.id),
                work: self.paths.container_work(&row.id),
                readonly: host.readonly_rootfs,
                propagation,
            },
            mounts: prepared.mounts,
            process,
            health: super::health::plan(config, probe).map(Box::new),
            namespaces: self.namespaces(host)?,
            hostname: config.hostname.clone(),
            domainname: config.domainname.clone(),
            sysctls: host
                .sysctls
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            oom_score_adj: (host.oom_score_adj != 0).then_some(host.oom_score_adj),
            resources: resources(host),
            devices: limits::devices(host)?,
            device_rules: host.device_cgroup_rules.clone().unwrap_or_default(),
            privileged: host.privileged,
            masked_paths: security.masked_paths,
            readonly_paths: security.readonly_paths,
            network: prepared.network,
            log: log_config(host, Some(row), config)?,
            restart: restart_policy(host),
            stop_signal: match config.stop_signal.as_deref() {
                Some(signal) if !signal.is_empty() => super::kill::signal_number(signal)?,
                _ => SIGTERM,
            },
            init: host.init == Some(true),
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            wake: self
                .config
                .wake
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            engine_socket: self.config.socket.clone(),
        })
    }

    /// A spec that is not started: for helpers that look at a container's files, or clean up after it. Namespaces of
    /// other containers do not matter then, and those containers may be gone.
    pub(crate) fn files_spec(
        &self,
        row: &ContainerRow,
        mounts: Vec<Mount>,
    ) -> Result<RunSpec, ContainerError> {
        let mut host = row.host_config()?;
        for mode in [
            &mut host.network_mode,
            &mut host.pid_mode,
            &mut host.ipc_mode,
        ] {
            if mode.starts_with("container:") {
                "none".clone_into(mode);
            }
        }
        let prepared = Prepared {
            lowers: self.images.lowers(&row.image_id)?,
            mounts,
            network: Network::default(),
            link_env: Vec::new(),
        };
        self.run_spec(row, &row.config()?, &host, prepared)
    }

    fn namespaces(&self, host: &HostConfig) -> Result<Namespaces, ContainerError> {
        let mode = |text: &str| -> Result<NsMode, ContainerError> {
            match text {
                "host" => Ok(NsMode::Host),
                other => match other.strip_prefix("container:") {
                    Some(container) => Ok(NsMode::Join(self.joined_pid(container)?)),
                    None => Ok(NsMode::Private),
                },
            }
        };
        Ok(Namespaces {
            network: match mode(&host.network_mode)? {
                NsMode::Host => NetworkNs::Host,
                NsMode::Join(pid) => NetworkNs::Join(pid),
                NsMode::Private => NetworkNs::Private,
            },
            pid: mode(&host.pid_mode)?,
            ipc: mode(&host.ipc_mode)?,
            uts: if host.network_mode == "host" && host.uts_mode.is_empty() {
                NsMode::Host
            } else {
                mode(&host.uts_mode)?
            },
            cgroup: mode(&host.cgroupns_mode)?,
        })
    }

    fn joined_pid(&self, container: &str) -> Result<i32, ContainerError> {
        let row = self.find(container)?;
        if row.status == Status::Running.as_str() {
            return Ok(row.pid);
        }
        Err(ContainerError::Conflict(format!(
            "cannot join the namespace of a non running container: {}",
            row.id
        )))
    }
}

fn shares_with_host(mount: &Mount) -> bool {
    use shim_protocol::spec::MountKind;
    matches!(
        mount.kind,
        MountKind::Bind {
            propagation: Propagation::Shared
                | Propagation::Rshared
                | Propagation::Slave
                | Propagation::Rslave,
            ..
        }
    )
}

pub(crate) fn restart_policy(host: &HostConfig) -> RestartPolicy {
    match host.restart_policy.name.as_str() {
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure {
            max_retries: u32::try_from(host.restart_policy.maximum_retry_count).unwrap_or(0),
        },
        _ => RestartPolicy::No,
    }
}

pub(crate) fn console_size([rows, columns]: [u16; 2]) -> Option<(u16, u16)> {
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// Docker's environment: PATH, HOSTNAME and TERM, then links, then the configuration, later entries winning.
/// An entry without `=` removes the variable.
pub(super) fn environment(config: &Config, link_env: Vec<String>) -> Vec<String> {
    let mut list = vec![DEFAULT_PATH.to_owned()];
    if !config.hostname.is_empty() {
        list.push(format!("HOSTNAME={}", config.hostname));
    }
    if config.tty {
        list.push("TERM=xterm".to_owned());
    }
    list.extend(link_env);
    override_env(list, &config.env)
}

/// `base` with `changes` applied, as Docker's `ReplaceOrAppendEnvValues` documents it.
pub(crate) fn override_env(mut base: Vec<String>, changes: &[String]) -> Vec<String> {
    for entry in changes {
        let key = entry.split('=').next().unwrap_or(entry);
        base.retain(|known| known.split('=').next() != Some(key));
        if entry.contains('=') {
            base.push(entry.clone());
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_dockers_with_the_users_on_top() {
        let config = Config {
            hostname: "h".into(),
            tty: true,
            env: vec!["PATH=/x".into(), "A=1".into(), "TERM".into(), "A=2".into()],
            ..Config::default()
        };
        assert_eq!(
            environment(&config, vec!["L=1".into()]),
            ["HOSTNAME=h", "L=1", "PATH=/x", "A=2"]
        );
    }
}

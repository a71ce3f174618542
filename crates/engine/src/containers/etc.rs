//! /etc/hostname, /etc/hosts and /etc/resolv.conf of a container, and the environment that links bring.
//!
//! The files are rewritten in place when the neighbourhood changes: a bind mount shows the file, not its name.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use store::ContainerRow;

use super::config::{Config, HostConfig};
use super::find::Columns as _;
use super::{ContainerError, Containers, NetworkSettings, Status};
use crate::network::{HostsInput, ResolvInput, Resolving, hosts, resolv_conf};

/// A running container on the bridge, as others may call it.
#[derive(Debug, Clone)]
struct Neighbour {
    id: String,
    name: String,
    hostname: String,
    ip: String,
}

impl Containers {
    /// Writes the three files for a start; returns the environment of `--link`.
    pub(super) fn write_etc(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
        settings: &NetworkSettings,
    ) -> Result<(Vec<String>, Resolving), ContainerError> {
        let files = |file: &str| self.paths.container_file(&row.id, file);
        write(&files("hostname"), &format!("{}\n", config.hostname))?;
        if let Some(other) = host.network_mode.strip_prefix("container:") {
            let other = self.find(other)?;
            for file in ["hosts", "resolv.conf"] {
                let text = std::fs::read_to_string(self.paths.container_file(&other.id, file))
                    .unwrap_or_default();
                write(&files(file), &text)?;
            }
            return Ok((Vec::new(), Resolving::default()));
        }
        let resolving = self.write_files(row, config, host, settings)?;
        Ok((self.link_environment(row, host, settings)?, resolving))
    }

    /// The two files that depend on the networks; what a resolver has to know.
    pub(super) fn write_files(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
        settings: &NetworkSettings,
    ) -> Result<Resolving, ContainerError> {
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let resolving = resolv_conf(&ResolvInput {
            host_network: host.network_mode == "host",
            resolver: settings.named().next().is_some(),
            nameservers: list(&host.dns),
            search: list(&host.dns_search),
            options: list(&host.dns_options),
        });
        let file = self.paths.container_file(&row.id, "resolv.conf");
        write(&file, &resolving.text)?;
        self.write_hosts(row, config, host, settings, &self.neighbours()?)?;
        Ok(resolving)
    }

    fn write_hosts(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
        settings: &NetworkSettings,
        neighbours: &[Neighbour],
    ) -> Result<(), ContainerError> {
        let links = self.links(host)?;
        let mut others: Vec<(String, Vec<String>)> = Vec::new();
        if settings.on_bridge().is_some() {
            for (alias, target) in &links {
                if let Some(neighbour) = neighbours
                    .iter()
                    .find(|neighbour| neighbour.id == target.id)
                {
                    others.push((
                        neighbour.ip.clone(),
                        vec![
                            alias.clone(),
                            neighbour.hostname.clone(),
                            neighbour.name.clone(),
                        ],
                    ));
                }
            }
            for neighbour in neighbours.iter().filter(|neighbour| neighbour.id != row.id) {
                if !links.iter().any(|(_, target)| target.id == neighbour.id) {
                    others.push((
                        neighbour.ip.clone(),
                        vec![neighbour.name.clone(), neighbour.id[..12].to_owned()],
                    ));
                }
            }
        }
        let text = hosts(&HostsInput {
            host_network: host.network_mode == "host",
            addresses: settings
                .endpoints
                .iter()
                .flat_map(|endpoint| [endpoint.ip.clone(), endpoint.ip6.clone()])
                .filter(|address| !address.is_empty())
                .collect(),
            hostname: config.hostname.clone(),
            domainname: config.domainname.clone(),
            gateway: settings
                .endpoints
                .iter()
                .find(|endpoint| !endpoint.gateway.is_empty())
                .map(|endpoint| endpoint.gateway.clone())
                .unwrap_or_default(),
            extra: host.extra_hosts.clone().unwrap_or_default(),
            others,
        })
        .map_err(ContainerError::Network)?;
        write(&self.paths.container_file(&row.id, "hosts"), &text)
    }

    /// Alias and container of each `--link`.
    fn links(&self, host: &HostConfig) -> Result<Vec<(String, ContainerRow)>, ContainerError> {
        let mut links = Vec::new();
        for link in host.links.iter().flatten() {
            let (container, alias) = match link.split_once(':') {
                Some((container, alias)) => (container, alias.rsplit('/').next().unwrap_or(alias)),
                None => (link.as_str(), link.as_str()),
            };
            match self.find(container) {
                Ok(row) => links.push((alias.to_owned(), row)),
                // The other end was removed: the name is simply unknown.
                Err(ContainerError::NoSuch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }

    fn neighbours(&self) -> Result<Vec<Neighbour>, ContainerError> {
        let rows = self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.containers()?))?;
        rows.into_iter()
            .filter(|row| matches!(row.status(), Ok(status) if status.is_active()))
            .map(|row| {
                let settings = row.network()?;
                Ok(Neighbour {
                    hostname: row.config()?.hostname,
                    ip: settings
                        .on_bridge()
                        .map(|endpoint| endpoint.ip.clone())
                        .unwrap_or_default(),
                    id: row.id,
                    name: row.name,
                })
            })
            .filter(|neighbour| !matches!(neighbour, Ok(neighbour) if neighbour.ip.is_empty()))
            .collect()
    }

    /// After a start, an end or a rename: every running container on the bridge learns the names.
    pub(super) fn refresh_hosts(&self) {
        if let Err(error) = self.try_refresh_hosts() {
            tracing::warn!(%error, "hosts files could not be refreshed");
        }
    }

    fn try_refresh_hosts(&self) -> Result<(), ContainerError> {
        let neighbours = self.neighbours()?;
        for neighbour in &neighbours {
            let refreshed = self.find(&neighbour.id).and_then(|row| {
                self.write_hosts(
                    &row,
                    &row.config()?,
                    &row.host_config()?,
                    &row.network()?,
                    &neighbours,
                )
            });
            match refreshed {
                // Removed since it was listed.
                Ok(()) | Err(ContainerError::NoSuch(_)) => {}
                Err(error) => {
                    tracing::warn!(container = neighbour.id, %error, "its hosts file could not be refreshed");
                }
            }
        }
        Ok(())
    }

    /// The variables that Docker gives a container for each of its links, by the legacy scheme.
    fn link_environment(
        &self,
        row: &ContainerRow,
        host: &HostConfig,
        settings: &NetworkSettings,
    ) -> Result<Vec<String>, ContainerError> {
        let mut variables = Vec::new();
        // Elsewhere a link is only a name.
        if settings.on_bridge().is_none() {
            return Ok(variables);
        }
        for (alias, target) in self.links(host)? {
            if target.status()? != Status::Running {
                return Err(ContainerError::Conflict(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    target.name, row.name
                )));
            }
            let prefix = alias.to_uppercase().replace('-', "_");
            let ip = target
                .network()?
                .on_bridge()
                .map(|endpoint| endpoint.ip.clone())
                .unwrap_or_default();
            let config = target.config()?;
            let ports: BTreeMap<u16, String> = config
                .exposed_ports
                .iter()
                .flatten()
                .filter_map(|(port, _)| {
                    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                    Some((number.parse().ok()?, protocol.to_owned()))
                })
                .collect();
            if let Some((port, protocol)) = ports.first_key_value() {
                variables.push(format!("{prefix}_PORT={protocol}://{ip}:{port}"));
            }
            for (port, protocol) in &ports {
                let name = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
                variables.push(format!("{name}={protocol}://{ip}:{port}"));
                variables.push(format!("{name}_ADDR={ip}"));
                variables.push(format!("{name}_PORT={port}"));
                variables.push(format!("{name}_PROTO={protocol}"));
            }
            variables.push(format!("{prefix}_NAME=/{}/{alias}", row.name));
            for entry in &config.env {
                if !entry.starts_with("HOME=") && !entry.starts_with("PATH=") {
                    variables.push(format!("{prefix}_ENV_{entry}"));
                }
            }
        }
        Ok(variables)
    }
}

/// Same inode, new content, and never empty in between: who looks a name up meanwhile finds the old or the new lines. Skipped when nothing changed, so that watchers inside are left in peace.
fn write(path: &Path, text: &str) -> Result<(), ContainerError> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        })
        .map_err(|source| ContainerError::Io {
            action: format!("cannot write {}", path.display()),
            source,
        })
}

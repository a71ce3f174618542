//! What neighbours call a container on each network, and whom its resolver asks.
//!
//! The names are files in the run directory, one for each container and network: the resolvers, which are in other
//! processes, read them, and need no engine for it. A file is there while the container runs.

use std::collections::HashSet;

use shim_protocol::spec::{Member, Resolver, ResolverNetwork};
use store::ContainerRow;

use super::super::config::Config;
use super::super::find::Columns as _;
use super::super::{ContainerError, Containers, NetworkSettings};
use super::Endpoint;
use crate::network::named::is_predefined;
use crate::network::{NetworkError, Resolving};

impl Containers {
    /// `None` for a container that is on no network with names.
    pub(crate) fn resolver(
        &self,
        settings: &NetworkSettings,
        resolving: Resolving,
    ) -> Result<Option<Resolver>, ContainerError> {
        let named: Vec<&Endpoint> = settings.named().collect();
        if named.is_empty() {
            return Ok(None);
        }
        let mut networks = Vec::new();
        for endpoint in named {
            networks.push(ResolverNetwork {
                id: endpoint.network.clone(),
                name: endpoint.name.clone(),
                links: endpoint
                    .request
                    .links()
                    .into_iter()
                    .map(|(alias, container)| (alias, self.name_of(container)))
                    .collect(),
            });
        }
        Ok(Some(Resolver {
            names: self.paths.names(),
            networks,
            upstream: resolving.upstream,
            forward: settings
                .endpoints
                .iter()
                .any(|endpoint| !endpoint.gateway.is_empty()),
            forward_single: resolving.forward_single,
        }))
    }

    /// Links may name a container by id; neighbours are found by name.
    fn name_of(&self, container: String) -> String {
        match self.find(&container) {
            Ok(row) => row.name,
            // It may be made later.
            Err(_) => container,
        }
    }

    /// Lets neighbours find a running container on all its networks.
    pub(crate) fn write_names(
        &self,
        row: &ContainerRow,
        config: &Config,
        settings: &NetworkSettings,
    ) -> Result<(), ContainerError> {
        for endpoint in settings.named().filter(|one| !one.ip.is_empty()) {
            let path = self.paths.container_names(&endpoint.network, &row.id);
            let failed = |source| ContainerError::Io {
                action: format!("cannot write {}", path.display()),
                source,
            };
            let member = Member {
                names: endpoint.dns_names(&row.id, &row.name, &config.hostname),
                address: endpoint.ip.clone(),
                address6: (!endpoint.ip6.is_empty()).then(|| endpoint.ip6.clone()),
            };
            let bytes = serde_json::to_vec(&member).map_err(|error| failed(error.into()))?;
            if std::fs::read(&path).is_ok_and(|old| old == bytes) {
                continue;
            }
            let directory = self.paths.network_names(&endpoint.network);
            sys::durable::create_dir_all(&directory, 0o700).map_err(failed)?;
            sys::durable::write_atomic(&path, &bytes, 0o600).map_err(failed)?;
        }
        Ok(())
    }

    /// After a rename or a start of the engine.
    pub(crate) fn rewrite_names(&self, row: &ContainerRow) -> Result<(), ContainerError> {
        self.write_names(row, &row.config()?, &row.network()?)
    }

    /// Neighbours do not find the container any more.
    pub(crate) fn remove_names(&self, id: &str, settings: &NetworkSettings) {
        for endpoint in settings.named() {
            let path = self.paths.container_names(&endpoint.network, id);
            if let Err(error) = sys::durable::remove_file(&path) {
                tracing::warn!(container = id, %error, "names of a stopped container stay");
            }
        }
    }

    /// Files of containers that do not run any more, and directories of networks that are gone.
    pub(crate) fn sweep_names(&self, live: &[String]) -> Result<(), ContainerError> {
        let live: HashSet<&str> = live.iter().map(String::as_str).collect();
        let failed = |source| {
            ContainerError::Network(NetworkError::Device {
                action: "look at the names on networks".to_owned(),
                source,
            })
        };
        let directories = match std::fs::read_dir(self.paths.names()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(failed)?,
        };
        for directory in directories.flatten() {
            let known = directory
                .file_name()
                .to_str()
                .is_some_and(|id| self.networks.find(id).is_ok());
            if !known {
                sys::dir::remove_tree(&directory.path()).map_err(failed)?;
                continue;
            }
            for file in std::fs::read_dir(directory.path())
                .map_err(failed)?
                .flatten()
            {
                let name = file.file_name();
                if !name.to_str().is_some_and(|id| live.contains(id)) {
                    sys::durable::remove_file(&file.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

impl Endpoint {
    /// In Docker's order: the first name is what the address is called.
    pub fn dns_names(&self, id: &str, name: &str, hostname: &str) -> Vec<String> {
        let aliases = self.request.aliases.iter().flatten().map(String::as_str);
        let own = [id.get(..12).unwrap_or(id), hostname];
        let mut names: Vec<String> = Vec::new();
        for name in std::iter::once(name).chain(aliases).chain(own) {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

impl NetworkSettings {
    /// Endpoints on networks on which containers know each other by name.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| !is_predefined(&endpoint.name))
    }

    /// The endpoint on the default bridge.
    pub(crate) fn on_bridge(&self) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.name == "bridge")
    }
}

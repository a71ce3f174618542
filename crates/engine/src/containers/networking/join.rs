//! A start takes what a container needs on each of its networks; its end gives it back.

use std::os::fd::OwnedFd;

use shim_protocol::spec::{Interface, Network as NetworkSpec, PublishedPort};
use store::ContainerRow;

use super::super::config::{Config, HostConfig, PortBinding};
use super::super::find::Columns as _;
use super::super::start::{port_requests, with_protocol};
use super::super::{ContainerError, Containers, NetworkSettings};
use super::Endpoint;
use crate::network::named::Found;
use crate::network::{Connected, Held, Wish};

/// What a start was given.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// For the runtime; the resolver is added when the names are known.
    pub(crate) network: NetworkSpec,
    /// One for each published port.
    pub(crate) sockets: Vec<OwnedFd>,
}

impl Containers {
    /// Takes addresses and published ports on all networks; nothing for other network modes. On an error nothing is kept.
    pub(crate) fn join_networks(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
    ) -> Result<(NetworkSettings, Joined), ContainerError> {
        let joined = self.try_join(row, config, host);
        if joined.is_err()
            && let Err(error) = self.network.disconnect_all(&row.id)
        {
            tracing::warn!(container = row.id, %error, "network of a failed start could not be released");
        }
        joined
    }

    fn try_join(
        &self,
        row: &ContainerRow,
        config: &Config,
        host: &HostConfig,
    ) -> Result<(NetworkSettings, Joined), ContainerError> {
        let mut settings = NetworkSettings {
            mode: host.network_mode.clone(),
            ..NetworkSettings::default()
        };
        let mut joined = Joined::default();
        let found = self.with_networks(row.network()?.endpoints)?;
        let requests = port_requests(config, host)?;
        let way_out = way_out(&found);
        for (number, (network, endpoint)) in found.iter().enumerate() {
            if network.driver != "bridge" {
                settings.endpoints.push(endpoint.at_rest());
                continue;
            }
            let leads = way_out == Some(number);
            let mut wish = self.wish(row, endpoint, &format!("eth{number}"), leads);
            if leads {
                wish.ports.clone_from(&requests);
            }
            let connected = self.network.connect(&row.id, &wish)?;
            let (endpoint, interface, sockets) = given(endpoint, connected);
            joined.network.ports.extend(endpoint.published.clone());
            joined.sockets.extend(sockets);
            if joined.network.interface.is_none() {
                joined.network.interface = Some(interface);
            } else {
                joined.network.more.push(interface);
            }
            settings.endpoints.push(endpoint);
        }
        settings.show_ports(config);
        Ok((settings, joined))
    }

    pub(super) fn wish(
        &self,
        row: &ContainerRow,
        endpoint: &Endpoint,
        device: &str,
        gateway: bool,
    ) -> Wish {
        let (address, address6) = endpoint.request.addresses();
        let mac = endpoint
            .request
            .mac_address
            .to_lowercase()
            .replace('-', ":");
        Wish {
            network: endpoint.network.clone(),
            name: row.name.clone(),
            address,
            address6,
            mac: (!mac.is_empty()).then_some(mac),
            device: device.to_owned(),
            gateway,
            ports: Vec::new(),
        }
    }

    /// Takes back into memory what a running container has.
    pub(crate) fn restore_networks(&self, row: &ContainerRow) -> Result<(), ContainerError> {
        for endpoint in row.network()?.endpoints {
            let Some(interface) = &endpoint.interface else {
                continue;
            };
            self.network.restore(Held {
                container: &row.id,
                name: &row.name,
                network: &endpoint.network,
                endpoint: &endpoint.id,
                interface,
                published: &endpoint.published,
            })?;
        }
        Ok(())
    }

    /// Docker's network events of a start or an end: one for each network.
    pub(crate) fn publish_networks(&self, row: &ContainerRow, action: &str) {
        let Ok(settings) = row.network() else {
            return;
        };
        for endpoint in settings.endpoints {
            let Ok(network) = self.networks.find(&endpoint.network) else {
                continue;
            };
            self.networks
                .publish(&network.id, &network.name, &network.driver, action, &row.id);
        }
    }
}

/// The network through which a container reaches the world, and the world its ports.
pub(super) fn way_out(found: &[(Found, Endpoint)]) -> Option<usize> {
    found
        .iter()
        .position(|(network, _)| network.driver == "bridge" && !network.internal)
}

/// The endpoint with what it was given.
pub(super) fn given(
    endpoint: &Endpoint,
    connected: Connected,
) -> (Endpoint, Interface, Vec<OwnedFd>) {
    let endpoint = Endpoint {
        id: connected.endpoint,
        ip: connected.ip,
        prefix_len: connected.prefix_len,
        gateway: connected.gateway,
        mac: connected.mac,
        ip6: connected.ip6.unwrap_or_default(),
        prefix_len6: connected.prefix_len6.unwrap_or_default(),
        gateway6: connected.gateway6.unwrap_or_default(),
        interface: Some(connected.interface.clone()),
        published: connected.published,
        ..endpoint.at_rest()
    };
    (endpoint, connected.interface, connected.sockets)
}

impl NetworkSettings {
    /// Exposed ports, and where they are published.
    pub(super) fn show_ports(&mut self, config: &Config) {
        self.ports.clear();
        if self.endpoints.iter().all(|endpoint| endpoint.id.is_empty()) {
            return;
        }
        for port in config.exposed_ports.iter().flatten().map(|(port, _)| port) {
            self.ports.insert(with_protocol(port), None);
        }
        let published: Vec<PublishedPort> = self.published();
        for port in published {
            let key = format!("{}/{}", port.container_port, port.protocol);
            self.ports
                .entry(key)
                .or_default()
                .get_or_insert_default()
                .push(PortBinding {
                    host_ip: port.host_ip,
                    host_port: port.host_port.to_string(),
                });
        }
    }

    fn published(&self) -> Vec<PublishedPort> {
        let all = self.endpoints.iter();
        all.flat_map(|endpoint| endpoint.published.clone())
            .collect()
    }
}

//! Which networks a container is to be on, and how: checked when it is created or connected, kept with it.
//!
//! The order is that in which networks are preferred: the first one that leads out is the way out, published ports lead
//! through it, and its interface is `eth0`. As with Docker: a higher priority first, then networks that lead out, then those
//! with both families of addresses, then by name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sys::netlink::Prefix;

use super::Endpoint;
use crate::containers::{Config, ContainerError, Containers, HostConfig};
use crate::network::NetworkError;
use crate::network::named::Found;

/// `EndpointSettings` of the API, as far as a client may set them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointRequest {
    #[serde(rename = "IPAMConfig")]
    pub ipam: Option<EndpointIpam>,
    pub links: Option<Vec<String>>,
    pub aliases: Option<Vec<String>>,
    pub mac_address: String,
    pub driver_opts: Option<BTreeMap<String, String>>,
    pub gw_priority: i64,
    /// Id of the network, when it is not said otherwise.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
}

/// Addresses of the user's choice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointIpam {
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub v4: String,
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub v6: String,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    pub link_local: Option<Vec<String>>,
}

impl EndpointRequest {
    /// The addresses of the user's choice; they were checked.
    pub(super) fn addresses(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let ipam = self.ipam.clone().unwrap_or_default();
        (ipam.v4.parse().ok(), ipam.v6.parse().ok())
    }

    /// Alias and container of each link.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let links = self.links.iter().flatten();
        links
            .map(|link| match link.split_once(':') {
                Some((container, alias)) => (alias.to_owned(), container.to_owned()),
                None => (link.clone(), link.clone()),
            })
            .collect()
    }
}

impl Containers {
    /// The networks of a new container; its network mode is then an id or a name that is whole.
    pub(crate) fn choose_networks(
        &self,
        config: &Config,
        host: &mut HostConfig,
        mut wanted: BTreeMap<String, EndpointRequest>,
    ) -> Result<Vec<Endpoint>, ContainerError> {
        if host.network_mode.starts_with("container:") {
            if !wanted.is_empty() {
                return Err(ContainerError::Invalid(SHARED.to_owned()));
            }
            return Ok(Vec::new());
        }
        // Not "not found": clients take that for a missing image.
        let find = |reference: &str| {
            self.networks
                .find(reference)
                .map_err(|error| ContainerError::Invalid(error.to_string()))
        };
        let mode = find(&host.network_mode)?;
        if host.network_mode != mode.id && host.network_mode != mode.name {
            host.network_mode.clone_from(&mode.id);
        }
        if wanted.is_empty() {
            wanted.insert(host.network_mode.clone(), EndpointRequest::default());
        }
        let mac = config.other.get("MacAddress").and_then(|mac| mac.as_str());
        let mut found: Vec<(Found, Endpoint)> = Vec::new();
        for (key, mut request) in wanted {
            let network = if key == "default" {
                mode.clone()
            } else if request.network_id.is_empty() {
                find(&key)?
            } else {
                find(&request.network_id)?
            };
            if network.id == mode.id {
                if request.mac_address.is_empty() {
                    mac.unwrap_or_default().clone_into(&mut request.mac_address);
                }
                if network.is_named() && request.links.is_none() {
                    request.links = host.links.clone().filter(|links| !links.is_empty());
                }
            }
            check(&network, &request).map_err(|why| {
                ContainerError::Invalid(format!("invalid config for network {key}: {why}"))
            })?;
            if found.iter().any(|(other, _)| other.id == network.id) {
                continue;
            }
            together(&found, &network)?;
            let endpoint = Endpoint {
                network: network.id.clone(),
                name: network.name.clone(),
                request,
                ..Endpoint::default()
            };
            found.push((network, endpoint));
        }
        sort(&mut found);
        Ok(found.into_iter().map(|(_, endpoint)| endpoint).collect())
    }

    /// The endpoints in the order of preference, with their networks as they are now.
    pub(super) fn with_networks(
        &self,
        endpoints: Vec<Endpoint>,
    ) -> Result<Vec<(Found, Endpoint)>, ContainerError> {
        let mut found = endpoints
            .into_iter()
            .map(|endpoint| {
                let network = self.networks.find(&endpoint.network).map_err(|error| {
                    match error {
                        // Of a network that was removed meanwhile, people know the name.
                        NetworkError::NotFound(_) => ContainerError::NotFound(format!(
                            "failed to set up container networking: network {} not found",
                            endpoint.name
                        )),
                        error => error.into(),
                    }
                })?;
                Ok((network, endpoint))
            })
            .collect::<Result<Vec<_>, ContainerError>>()?;
        sort(&mut found);
        Ok(found)
    }
}

pub(super) const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";

fn sort(found: &mut [(Found, Endpoint)]) {
    found.sort_by(|(a, one), (b, other)| {
        (other.request.gw_priority)
            .cmp(&one.request.gw_priority)
            .then(a.internal.cmp(&b.internal))
            .then(b.ipv6.cmp(&a.ipv6))
            .then(a.name.cmp(&b.name))
    });
}

/// Whether a container that is on `found` can be on `network`, too.
pub(super) fn together(found: &[(Found, Endpoint)], network: &Found) -> Result<(), ContainerError> {
    let any = |name: &str| found.iter().any(|(other, _)| other.name == name);
    if found.is_empty() {
        return Ok(());
    }
    if any("host") || network.name == "host" {
        return Err(ContainerError::Invalid(SHARED.to_owned()));
    }
    if any("none") || network.name == "none" {
        return Err(ContainerError::Invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode".to_owned(),
        ));
    }
    Ok(())
}

/// All that is wrong with a wish, a line each.
pub(super) fn check(network: &Found, request: &EndpointRequest) -> Result<(), String> {
    let mut errors: Vec<String> = Vec::new();
    let ipam = request.ipam.clone().unwrap_or_default();
    let chosen = [&ipam.v4, &ipam.v6];
    if !network.is_named() {
        if chosen.iter().any(|address| !address.is_empty()) {
            errors.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        if request
            .aliases
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        {
            errors.push(
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            );
        }
    }
    for (address, v6) in [(&ipam.v4, false), (&ipam.v6, true)] {
        if address.is_empty() {
            continue;
        }
        match address.parse::<IpAddr>() {
            Ok(parsed) if parsed.is_ipv6() == v6 && !parsed.is_unspecified() => {
                if network.is_named() {
                    errors.extend(in_subnet(network, parsed).err());
                }
            }
            _ => errors.push(format!(
                "invalid {} address: {address}",
                if v6 { "IPv6" } else { "IPv4" }
            )),
        }
    }
    for address in ipam.link_local.iter().flatten() {
        if address.parse::<IpAddr>().is_err() {
            errors.push(format!("invalid link-local IP address: {address}"));
        }
    }
    if !request.mac_address.is_empty() && !is_mac(&request.mac_address) {
        return Err(format!("invalid MAC address {}", request.mac_address));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(format!("invalid endpoint settings:\n{}", errors.join("\n")))
}

fn in_subnet(network: &Found, address: IpAddr) -> Result<(), String> {
    let mut own = network
        .subnets
        .iter()
        .filter_map(|pool| pool.subnet.parse::<Prefix>().ok())
        .filter(|subnet| subnet.address.is_ipv4() == address.is_ipv4())
        .peekable();
    if own.peek().is_none() {
        return Err(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        );
    }
    if own.any(|subnet| subnet.contains(address)) {
        return Ok(());
    }
    Err(format!(
        "no configured subnet or ip-range contain the IP address {address}"
    ))
}

fn is_mac(text: &str) -> bool {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    bytes.len() == 6
        && bytes
            .iter()
            .all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::named::Pool;

    fn network(name: &str, subnet: &str, internal: bool) -> Found {
        Found {
            id: format!("id-{name}"),
            name: name.to_owned(),
            driver: "bridge".to_owned(),
            subnets: (!subnet.is_empty())
                .then(|| Pool {
                    subnet: subnet.to_owned(),
                    ..Pool::default()
                })
                .into_iter()
                .collect(),
            internal,
            ipv6: false,
        }
    }

    fn at(address: &str) -> EndpointRequest {
        EndpointRequest {
            ipam: Some(EndpointIpam {
                v4: address.to_owned(),
                ..EndpointIpam::default()
            }),
            ..EndpointRequest::default()
        }
    }

    #[test]
    fn addresses_must_be_in_the_users_subnet() {
        let table = [
            (network("n", "10.0.0.0/24", false), "10.0.0.7", None),
            (
                network("n", "10.0.0.0/24", false),
                "10.0.1.7",
                Some("no configured subnet or ip-range contain the IP address 10.0.1.7"),
            ),
            (
                network("n", "", false),
                "10.0.1.7",
                Some(
                    "user specified IP address is supported only when connecting to networks with user configured subnets",
                ),
            ),
            (
                network("bridge", "", false),
                "10.0.1.7",
                Some("user specified IP address is supported on user defined networks only"),
            ),
            (
                network("n", "10.0.0.0/24", false),
                "nonsense",
                Some("invalid IPv4 address: nonsense"),
            ),
        ];
        for (network, address, expected) in table {
            let said = check(&network, &at(address)).err();
            let expected = expected.map(|text| format!("invalid endpoint settings:\n{text}"));
            assert_eq!(said, expected, "{address}");
        }
    }

    #[test]
    fn the_way_out_is_by_priority_then_by_name_and_never_internal() {
        let one = |name: &str, internal, priority| {
            let endpoint = Endpoint {
                request: EndpointRequest {
                    gw_priority: priority,
                    ..EndpointRequest::default()
                },
                ..Endpoint::default()
            };
            (network(name, "", internal), endpoint)
        };
        let mut all = vec![one("a", true, 0), one("c", false, 0), one("b", false, 0)];
        sort(&mut all);
        let names: Vec<&str> = all
            .iter()
            .map(|(network, _)| network.name.as_str())
            .collect();
        assert_eq!(names, ["b", "c", "a"]);
        all.push(one("d", false, 5));
        sort(&mut all);
        assert_eq!(all[0].0.name, "d");
    }
}

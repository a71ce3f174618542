//! Networks, and containers on them.

use std::collections::BTreeMap;

use engine::containers::networking::{Endpoint, EndpointIpam};
use engine::containers::{ContainerDetail, NetworkSettings};
use engine::network::named::NetworkInfo;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A network; who is on it is only told of a single one.
pub(crate) fn network(network: &NetworkInfo, detailed: bool) -> Value {
    let containers: Map<String, Value> = network
        .containers
        .iter()
        .filter(|_| detailed)
        .map(|container| {
            let shown = json!({
                "Name": container.name,
                "EndpointID": container.endpoint,
                "MacAddress": container.mac,
                "IPv4Address": container.address,
                "IPv6Address": container.address6.clone().unwrap_or_default(),
            });
            (container.id.clone(), shown)
        })
        .collect();
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": true,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options,
            "Config": (!network.pools.is_empty()).then_some(&network.pools),
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    })
}

/// One of `.Networks` of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShownEndpoint<'a> {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<&'a EndpointIpam>,
    links: Option<&'a [String]>,
    aliases: Option<&'a [String]>,
    mac_address: &'a str,
    driver_opts: Option<&'a BTreeMap<String, String>>,
    gw_priority: i64,
    #[serde(rename = "NetworkID")]
    network_id: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    gateway: &'a str,
    #[serde(rename = "IPAddress")]
    ip_address: &'a str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'a str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'a str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<Vec<String>>,
}

impl<'a> ShownEndpoint<'a> {
    /// `dns_names`: what the container is called on a network that a user made.
    pub(crate) fn new(endpoint: &'a Endpoint, dns_names: Option<Vec<String>>) -> Self {
        let request = &endpoint.request;
        Self {
            ipam_config: request.ipam.as_ref(),
            links: request.links.as_deref(),
            aliases: request.aliases.as_deref(),
            mac_address: if endpoint.mac.is_empty() {
                &request.mac_address
            } else {
                &endpoint.mac
            },
            driver_opts: request.driver_opts.as_ref(),
            gw_priority: request.gw_priority,
            network_id: &endpoint.network,
            endpoint_id: &endpoint.id,
            gateway: &endpoint.gateway,
            ip_address: &endpoint.ip,
            ip_prefix_len: endpoint.prefix_len,
            ipv6_gateway: &endpoint.gateway6,
            global_ipv6_address: &endpoint.ip6,
            global_ipv6_prefix_len: endpoint.prefix_len6,
            dns_names,
        }
    }
}

/// `.Networks` of a container that is looked at alone.
pub(crate) fn endpoints(detail: &ContainerDetail) -> BTreeMap<&str, ShownEndpoint<'_>> {
    let endpoints = detail.network.endpoints.iter();
    endpoints
        .map(|endpoint| {
            let names = dns_names(detail, endpoint);
            (endpoint.name.as_str(), ShownEndpoint::new(endpoint, names))
        })
        .collect()
}

/// What a container is called on a network, in Docker's order; nothing on networks of every engine.
fn dns_names(detail: &ContainerDetail, endpoint: &Endpoint) -> Option<Vec<String>> {
    let named = !matches!(endpoint.name.as_str(), "bridge" | "host" | "none");
    named.then(|| endpoint.dns_names(&detail.id, &detail.name, &detail.config.hostname))
}

/// The fields beside `.Networks` tell of the default bridge alone.
pub(crate) fn on_bridge(settings: &NetworkSettings) -> Endpoint {
    let mut endpoints = settings.endpoints.iter();
    endpoints
        .find(|endpoint| endpoint.name == "bridge")
        .cloned()
        .unwrap_or_default()
}

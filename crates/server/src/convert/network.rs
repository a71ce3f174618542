//! Networks, and containers on them.

use engine::containers::networking::Endpoint;
use engine::containers::{ContainerDetail, NetworkSettings};
use engine::network::named::NetworkInfo;
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

/// `.Networks` of a container. `names`: what it is called on a network that a user made.
pub(crate) fn endpoints(
    settings: &NetworkSettings,
    names: impl Fn(&Endpoint) -> Option<Vec<String>>,
) -> Value {
    let shown = |endpoint: &Endpoint| {
        let request = &endpoint.request;
        let mac = if endpoint.mac.is_empty() {
            &request.mac_address
        } else {
            &endpoint.mac
        };
        json!({
            "IPAMConfig": request.ipam,
            "Links": request.links,
            "Aliases": request.aliases,
            "MacAddress": mac,
            "DriverOpts": request.driver_opts,
            "GwPriority": request.gw_priority,
            "NetworkID": endpoint.network,
            "EndpointID": endpoint.id,
            "Gateway": endpoint.gateway,
            "IPAddress": endpoint.ip,
            "IPPrefixLen": endpoint.prefix_len,
            "IPv6Gateway": endpoint.gateway6,
            "GlobalIPv6Address": endpoint.ip6,
            "GlobalIPv6PrefixLen": endpoint.prefix_len6,
            "DNSNames": names(endpoint),
        })
    };
    let all: Map<String, Value> = settings
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.name.clone(), shown(endpoint)))
        .collect();
    Value::Object(all)
}

/// What a container is called on a network, in Docker's order; nothing on networks of every engine.
pub(crate) fn dns_names(detail: &ContainerDetail, endpoint: &Endpoint) -> Option<Vec<String>> {
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

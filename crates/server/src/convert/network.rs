//! Networks.

use engine::network::NetworkInfo;
use serde_json::{Map, Value, json};

/// Fills what is known of the default bridge into its description.
pub(crate) fn bridge(network: &mut Value, info: &NetworkInfo) {
    let mut configs = vec![json!({ "Subnet": info.subnet, "Gateway": info.gateway })];
    if let Some(subnet) = &info.subnet6 {
        configs.push(json!({ "Subnet": subnet, "Gateway": info.gateway6 }));
        network["EnableIPv6"] = json!(true);
    }
    network["IPAM"] = json!({ "Driver": "default", "Options": null, "Config": configs });
    let containers: Map<String, Value> = info
        .containers
        .iter()
        .map(|container| {
            let shown = json!({
                "Name": "",
                "EndpointID": container.id,
                "MacAddress": container.mac,
                "IPv4Address": container.address,
                "IPv6Address": container.address6.clone().unwrap_or_default(),
            });
            (container.id.clone(), shown)
        })
        .collect();
    network["Containers"] = Value::Object(containers);
    network["Options"] = json!({
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.name": info.bridge,
        "com.docker.network.driver.mtu": info.mtu.to_string(),
    });
}

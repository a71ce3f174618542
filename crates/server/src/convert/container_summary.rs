//! Containers as lists show them. A thousand of them are written without a tree of values in between.

use std::collections::BTreeMap;

use engine::containers::{ContainerSummary, MountPoint, NetworkSettings};
use serde::Serialize;
use serde_json::Value;

use super::network::ShownEndpoint;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shown<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: &'a str,
    created: i64,
    ports: Vec<Port<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<i64>,
    labels: &'a BTreeMap<String, String>,
    state: &'a str,
    status: &'a str,
    host_config: Host<'a>,
    network_settings: Networks<'a>,
    mounts: &'a [MountPoint],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Host<'a> {
    network_mode: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Networks<'a> {
    networks: BTreeMap<&'a str, ShownEndpoint<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port<'a> {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_port: Option<u16>,
    r#type: &'a str,
}

fn ports(network: &NetworkSettings) -> Vec<Port<'_>> {
    let mut ports = Vec::new();
    for (port, bindings) in &network.ports {
        let (number, r#type) = port.split_once('/').unwrap_or((port, "tcp"));
        let private_port = number.parse().unwrap_or(0);
        match bindings {
            None => ports.push(Port {
                ip: None,
                private_port,
                public_port: None,
                r#type,
            }),
            Some(bindings) => ports.extend(bindings.iter().map(|binding| Port {
                ip: Some(&binding.host_ip),
                private_port,
                public_port: Some(binding.host_port.parse().unwrap_or(0)),
                r#type,
            })),
        }
    }
    ports
}

impl<'a> From<&'a ContainerSummary> for Shown<'a> {
    fn from(container: &'a ContainerSummary) -> Self {
        let endpoints = container.network.endpoints.iter();
        Self {
            id: &container.id,
            names: [format!("/{}", container.name)],
            image: &container.image_ref,
            image_id: &container.image_id,
            command: &container.command,
            created: container.created,
            ports: ports(&container.network),
            size_rw: container.size_rw.filter(|&size| size > 0),
            size_root_fs: container.size_root_fs,
            labels: &container.labels,
            state: container.status.as_str(),
            status: &container.status_text,
            host_config: Host {
                network_mode: &container.network.mode,
            },
            network_settings: Networks {
                networks: endpoints
                    .map(|endpoint| (endpoint.name.as_str(), ShownEndpoint::new(endpoint, None)))
                    .collect(),
            },
            mounts: &container.mounts,
        }
    }
}

/// One of them as part of another answer.
pub(crate) fn summary(container: &ContainerSummary) -> Value {
    serde_json::to_value(Shown::from(container)).expect("plain texts serialise")
}

//! `port`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};
use crate::render::units::natural;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let container = client.get(&format!("/containers/{}/json", encode(&self.container)))?;
        let ports = container["NetworkSettings"]["Ports"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let shown = |binding: &Value| {
            let ip = binding["HostIp"].as_str().unwrap_or_default();
            let port = binding["HostPort"].as_str().unwrap_or_default();
            if ip.contains(':') {
                format!("[{ip}]:{port}")
            } else {
                format!("{ip}:{port}")
            }
        };
        let bindings = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if let Some(wanted) = &self.port {
            let key = if wanted.contains('/') {
                wanted.clone()
            } else {
                format!("{wanted}/tcp")
            };
            let list = ports.get(&key).map(bindings).unwrap_or_default();
            if list.is_empty() {
                return Err(Failure::new(format!(
                    "no public port '{key}' published for {}",
                    self.container
                )));
            }
            list.iter()
                .for_each(|binding| println!("{}", shown(binding)));
            return Ok(0);
        }
        let mut lines: Vec<String> = ports
            .iter()
            .flat_map(|(port, list)| {
                bindings(list)
                    .into_iter()
                    .map(move |binding| format!("{port} -> {}", shown(&binding)))
            })
            .collect();
        lines.sort_by(|a, b| natural(a, b));
        lines.iter().for_each(|line| println!("{line}"));
        Ok(0)
    }
}

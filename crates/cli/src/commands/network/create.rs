//! `network create`.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::http::Client;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "string")]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "ipSlice", value_delimiter = ',')]
    gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "ipNet", value_delimiter = ',')]
    ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long, value_name = "map")]
    ipam_opt: Vec<String>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set)]
    ipv4: bool,
    /// Enable or disable IPv6 address assignment
    #[arg(long)]
    ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Control the network's scope
    #[arg(long, value_name = "string")]
    scope: Option<String>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    subnet: Vec<String>,
    #[arg(value_name = "NETWORK")]
    network: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = json!({
            "Name": self.network,
            "CheckDuplicate": true,
            "Driver": self.driver,
            "Scope": self.scope.clone().unwrap_or_default(),
            "IPAM": {
                "Driver": self.ipam_driver,
                "Options": pairs(&self.ipam_opt),
                "Config": self.pools()?,
            },
            "Internal": self.internal,
            "Attachable": self.attachable,
            "Ingress": self.ingress,
            "ConfigOnly": self.config_only,
            "Options": pairs(&self.opt),
            "Labels": pairs(&self.label),
        });
        // What is as usual is the engine's to decide.
        if !self.ipv4 {
            body["EnableIPv4"] = json!(false);
        }
        if self.ipv6 {
            body["EnableIPv6"] = json!(true);
        }
        if let Some(network) = &self.config_from {
            body["ConfigFrom"] = json!({ "Network": network });
        }
        let created = client.post("/networks/create", &body)?;
        println!("{}", created["Id"].as_str().unwrap_or_default());
        Ok(0)
    }

    /// Each subnet with the range, the gateway and the addresses that lie in it.
    fn pools(&self) -> Outcome<Vec<Value>> {
        let subnets = self
            .subnet
            .iter()
            .map(|text| {
                Net::parse(text)
                    .map(|net| (text, net))
                    .ok_or_else(|| Failure::new(format!("invalid CIDR address: {text}")))
            })
            .collect::<Outcome<Vec<_>>>()?;
        for (at, (text, net)) in subnets.iter().enumerate() {
            if let Some((other, _)) = subnets[..at].iter().find(|(_, one)| one.overlaps(net)) {
                return Err(Failure::new(format!(
                    "multiple overlapping subnet configuration is not supported: {other}, {text}"
                )));
            }
        }
        let mut pools: Vec<Map<String, Value>> = subnets
            .iter()
            .map(|(text, _)| Map::from_iter([("Subnet".to_owned(), json!(text))]))
            .collect();
        let place = |text: &str| {
            let address = text.split('/').next().unwrap_or(text).parse().ok();
            address.and_then(|address| subnets.iter().position(|(_, net)| net.contains(address)))
        };
        for (values, key, what) in [
            (&self.ip_range, "IPRange", "range"),
            (&self.gateway, "Gateway", "gateway"),
        ] {
            for text in values {
                let at = place(text)
                    .ok_or_else(|| Failure::new(format!("no matching subnet for {what} {text}")))?;
                if pools[at].contains_key(key) {
                    return Err(Failure::new(format!(
                        "cannot configure multiple {what}s ({}, {text}) on the same subnet ({})",
                        pools[at][key].as_str().unwrap_or_default(),
                        self.subnet[at]
                    )));
                }
                pools[at].insert(key.to_owned(), json!(text));
            }
        }
        for entry in &self.aux_address {
            let (name, address) = entry.split_once('=').unwrap_or((entry, ""));
            let at = place(address).ok_or_else(|| {
                Failure::new(format!("no matching subnet for aux-address {address}"))
            })?;
            let known = pools[at]
                .entry("AuxiliaryAddresses")
                .or_insert_with(|| json!({}));
            known[name] = json!(address);
        }
        Ok(pools.into_iter().map(Value::Object).collect())
    }
}

fn pairs(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .map(|entry| {
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// A subnet, of either family, as a number and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net {
    bits: u128,
    length: u32,
    width: u32,
}

impl Net {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (bits, width) = number(address.parse().ok()?);
        let length = length.parse().ok().filter(|length| *length <= width)?;
        Some(Self {
            bits,
            length,
            width,
        })
    }

    fn contains(self, address: std::net::IpAddr) -> bool {
        let (bits, width) = number(address);
        let host = self.width - self.length;
        width == self.width
            && bits.checked_shr(host).unwrap_or(0) == self.bits.checked_shr(host).unwrap_or(0)
    }

    fn overlaps(self, other: &Self) -> bool {
        let host = self.width - self.length.min(other.length);
        self.width == other.width
            && self.bits.checked_shr(host).unwrap_or(0) == other.bits.checked_shr(host).unwrap_or(0)
    }
}

fn number(address: std::net::IpAddr) -> (u128, u32) {
    match address {
        std::net::IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        std::net::IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_hold_their_own() {
        let net = Net::parse("10.1.0.0/16").expect("valid");
        assert!(net.contains("10.1.2.3".parse().expect("an address")));
        assert!(!net.contains("10.2.0.1".parse().expect("an address")));
        assert!(!net.contains("fd00::1".parse().expect("an address")));
        assert!(net.overlaps(&Net::parse("10.1.9.0/24").expect("valid")));
        assert!(!net.overlaps(&Net::parse("10.2.0.0/24").expect("valid")));
        assert!(
            Net::parse("::/0")
                .expect("valid")
                .contains("fd00::1".parse().expect("an address"))
        );
        for text in ["10.1.0.0", "10.1.0.0/33", "x/8"] {
            assert_eq!(Net::parse(text), None, "{text}");
        }
    }
}

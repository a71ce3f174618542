//! The networks' own firewall tables: published ports, translation on the way out, isolation.
//!
//! The rules change only when a bridge comes or goes; publishing a port only adds an element to one of two maps. Every rule
//! carries a comment with a digest of what all rules were made from, so that one listing tells whether they are
//! complete and current. If not, the tables are replaced as a whole, elements included, in one step.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest as _, Sha256};
use shim_protocol::spec::PublishedPort;
use sys::netlink::Prefix;
use sys::nftables::{
    BaseChain, Batch, Family, Hook, MapElement, MapSpec, Natted, Netfilter, NftablesError, Place,
    PortMapKey, Rule,
};

use super::NetworkError;
use super::ports::Protocol;

/// Changes whenever the rules below change, so that an upgraded engine replaces them.
const VERSION: u8 = 2;

/// `(protocol, port)` to `(address, port)`, for ports that are published on all addresses.
const ANY_ADDRESS: &str = "ports";
/// `(address, protocol, port)` to `(address, port)`.
const ONE_ADDRESS: &str = "address_ports";

// Types as `nft` numbers them; concatenated ones are six bits each.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;

const MAPS: [MapSpec<'_>; 2] = [
    MapSpec {
        name: ANY_ADDRESS,
        key_type: TYPE_PROTOCOL << 6 | TYPE_PORT,
        key_length: 8,
        value_type: TYPE_ADDRESS << 6 | TYPE_PORT,
        value_length: 8,
    },
    MapSpec {
        name: ONE_ADDRESS,
        key_type: TYPE_ADDRESS << 12 | TYPE_PROTOCOL << 6 | TYPE_PORT,
        key_length: 12,
        value_type: TYPE_ADDRESS << 6 | TYPE_PORT,
        value_length: 8,
    },
];

const RAW: BaseChain<'_> = chain("raw", "filter", Hook::Prerouting, -300);
const PREROUTING: BaseChain<'_> = chain("prerouting", "nat", Hook::Prerouting, -100);
const OUTPUT: BaseChain<'_> = chain("output", "nat", Hook::Output, -100);
const FORWARD: BaseChain<'_> = chain("forward", "filter", Hook::Forward, 0);
const POSTROUTING: BaseChain<'_> = chain("postrouting", "nat", Hook::Postrouting, 100);

const fn chain<'a>(name: &'a str, kind: &'a str, hook: Hook, priority: i32) -> BaseChain<'a> {
    BaseChain {
        name,
        kind,
        hook,
        priority,
        drop: false,
    }
}

/// One entry of a map: where packets to a host port go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    map: &'static str,
    key: Vec<u8>,
    value: Vec<u8>,
    /// `0.0.0.0:8080/tcp`
    shown: String,
}

impl Element {
    /// `None` for IPv6, which the shim serves.
    pub(super) fn of(port: &PublishedPort) -> Result<Option<Self>, NetworkError> {
        let host: IpAddr = super::ports::parse_ip(&port.host_ip)?;
        let IpAddr::V4(host) = host else {
            return Ok(None);
        };
        let to: Ipv4Addr = port
            .container_ip
            .parse()
            .map_err(|_| NetworkError::InvalidInterface(port.container_ip.clone()))?;
        let protocol = Protocol::parse(&port.protocol)?;
        let mut key = Vec::with_capacity(12);
        if !host.is_unspecified() {
            key.extend_from_slice(&host.octets());
        }
        key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
        key.extend_from_slice(&port.host_port.to_be_bytes());
        key.extend_from_slice(&[0, 0]);
        let mut value = to.octets().to_vec();
        value.extend_from_slice(&port.container_port.to_be_bytes());
        value.extend_from_slice(&[0, 0]);
        Ok(Some(Self {
            map: if host.is_unspecified() {
                ANY_ADDRESS
            } else {
                ONE_ADDRESS
            },
            key,
            value,
            shown: format!("{host}:{}/{}", port.host_port, port.protocol),
        }))
    }
}

/// What was put right by [`Firewall::synchronise`].
#[derive(Debug, Default)]
pub(super) struct Synchronised {
    pub(super) removed: usize,
    /// Ports that were missing.
    pub(super) added: Vec<String>,
}

/// A network as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    pub(super) bridge: String,
    pub(super) subnet: Prefix,
    pub(super) subnet6: Option<Prefix>,
    /// Nothing of it leaves the host, or enters it.
    pub(super) internal: bool,
    /// What leaves the host has the host's address.
    pub(super) masquerade: bool,
}

/// The tables of one engine.
#[derive(Debug)]
pub(super) struct Firewall<'a> {
    pub(super) netfilter: &'a Netfilter,
    pub(super) table: &'a str,
}

impl Firewall<'_> {
    /// Makes sure that the tables are there and current. `all` are the elements to put into new tables.
    ///
    /// Returns whether they had to be made.
    pub(super) fn ensure(
        &self,
        grounds: &[Ground],
        all: &[Element],
    ) -> Result<bool, NftablesError> {
        let mut batch = Batch::new();
        for family in [Family::Ip, Family::Ip6] {
            let wanted = rules(family, grounds);
            let comment = self.comment(grounds);
            let found = self.netfilter.rules(family, self.table, None)?;
            let current = found.len() == wanted.len()
                && found
                    .iter()
                    .all(|rule| rule.comment.as_deref() == Some(&comment));
            if current {
                continue;
            }
            // Deleting needs the table to exist, adding does not mind.
            batch.add_table(family, self.table);
            batch.delete_table(family, self.table);
            if !wanted.is_empty() {
                self.fill(&mut batch, family, &wanted, &comment, all);
            }
        }
        let made = !batch.is_empty();
        batch.commit(self.netfilter)?;
        Ok(made)
    }

    fn fill(
        &self,
        batch: &mut Batch,
        family: Family,
        wanted: &[(BaseChain<'_>, Rule)],
        comment: &str,
        all: &[Element],
    ) {
        batch.add_table(family, self.table);
        if family == Family::Ip {
            for map in &MAPS {
                batch.add_map(family, self.table, map);
            }
        }
        let mut previous = "";
        for (chain, rule) in wanted {
            if chain.name != previous {
                batch.add_chain(family, self.table, chain);
                previous = chain.name;
            }
            batch.add_rule(family, self.table, chain.name, Place::Last, rule, comment);
        }
        if family == Family::Ip {
            self.add(batch, all);
        }
    }

    fn add(&self, batch: &mut Batch, all: &[Element]) {
        for map in &MAPS {
            let of_map = pairs(all.iter().filter(|element| element.map == map.name));
            batch.add_elements(Family::Ip, self.table, map.name, &of_map);
        }
    }

    fn comment(&self, grounds: &[Ground]) -> String {
        let source = format!("{VERSION} {grounds:?}");
        let digest = Sha256::digest(source.as_bytes());
        let digest: String = digest[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{} {digest}", self.table)
    }

    /// Publishes ports; whatever else the same host ports led to is replaced.
    pub(super) fn publish(&self, new: &[Element]) -> Result<(), NftablesError> {
        let mut batch = Batch::new();
        self.add(&mut batch, new);
        match batch.commit(self.netfilter) {
            Err(error) if error.is_conflict() => {}
            result => return result,
        }
        let mut batch = Batch::new();
        for map in &MAPS {
            let mut stale = self.netfilter.elements(Family::Ip, self.table, map.name)?;
            stale.retain(|(key, _)| {
                new.iter()
                    .any(|element| element.map == map.name && element.key == *key)
            });
            batch.delete_elements(Family::Ip, self.table, map.name, &stale);
        }
        self.add(&mut batch, new);
        batch.commit(self.netfilter)
    }

    /// Unpublishes every port that leads to `address`.
    pub(super) fn unpublish(&self, address: Ipv4Addr) -> Result<(), NftablesError> {
        let mut batch = Batch::new();
        for map in &MAPS {
            let mut leading = self.netfilter.elements(Family::Ip, self.table, map.name)?;
            leading.retain(|(_, value)| value.get(..4) == Some(&address.octets()));
            batch.delete_elements(Family::Ip, self.table, map.name, &leading);
        }
        batch.commit(self.netfilter)
    }

    /// Makes the maps hold exactly `all`.
    pub(super) fn synchronise(&self, all: &[Element]) -> Result<Synchronised, NftablesError> {
        let mut done = Synchronised::default();
        let mut batch = Batch::new();
        for map in &MAPS {
            let found = self.netfilter.elements(Family::Ip, self.table, map.name)?;
            let wanted = pairs(all.iter().filter(|element| element.map == map.name));
            let (kept, stale): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|pair| wanted.contains(pair));
            let missing: Vec<Element> = all
                .iter()
                .filter(|element| element.map == map.name)
                .filter(|element| !kept.iter().any(|(key, _)| *key == element.key))
                .cloned()
                .collect();
            batch.delete_elements(Family::Ip, self.table, map.name, &stale);
            batch.add_elements(Family::Ip, self.table, map.name, &pairs(missing.iter()));
            done.removed += stale.len();
            done.added
                .extend(missing.into_iter().map(|element| element.shown));
        }
        batch.commit(self.netfilter)?;
        Ok(done)
    }

    /// Deletes the tables. False when there were none.
    pub(super) fn remove(&self) -> Result<bool, NftablesError> {
        let mut batch = Batch::new();
        for family in [Family::Ip, Family::Ip6] {
            if self
                .netfilter
                .tables(family)?
                .iter()
                .any(|name| name == self.table)
            {
                batch.delete_table(family, self.table);
            }
        }
        let found = !batch.is_empty();
        batch.commit(self.netfilter)?;
        Ok(found)
    }
}

/// All rules of a family, chain by chain.
fn rules(family: Family, grounds: &[Ground]) -> Vec<(BaseChain<'static>, Rule)> {
    match family {
        Family::Ip if !grounds.is_empty() => rules4(grounds),
        Family::Ip => Vec::new(),
        Family::Ip6 => rules6(grounds),
    }
}

fn rules4(grounds: &[Ground]) -> Vec<(BaseChain<'static>, Rule)> {
    let loopback = Prefix {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        length: 8,
    };
    let published = |key, map| Rule::new().destination_is_local().redirect_by(key, map);
    // Bridges route 127.0.0.0/8 (answers to the host's own connections need it): containers must not use that to reach
    // what listens on the host's loopback.
    let mut all: Vec<_> = grounds
        .iter()
        .map(|ground| {
            let from = Rule::new().input_is(&ground.bridge);
            (RAW, from.destination_in(loopback).drop())
        })
        .collect();
    // Neighbours of the host that send to 127.0.0.1 by force do not reach ports published there.
    all.push((PREROUTING, Rule::new().destination_in(loopback).leave()));
    for chain in [PREROUTING, OUTPUT] {
        all.push((chain, published(PortMapKey::AddressAndPort, ONE_ADDRESS)));
        all.push((chain, published(PortMapKey::Port, ANY_ADDRESS)));
    }
    all.extend(isolation(grounds));
    for Ground { bridge, subnet, .. } in grounds.iter().filter(|ground| ground.masquerade) {
        let from = Rule::new().source_in(*subnet);
        all.push((POSTROUTING, from.output_is_not(bridge).masquerade()));
    }
    for Ground { bridge, subnet, .. } in grounds {
        let from = Rule::new().source_in(loopback);
        all.push((POSTROUTING, from.output_is(bridge).masquerade()));
        // A container that calls a published port, its own or a neighbour's, must get the answer from the address that it
        // called.
        let from = Rule::new().source_in(*subnet).output_is(bridge);
        let called = from.connection_is(Natted::Destination);
        all.push((POSTROUTING, called.masquerade()));
    }
    all
}

fn rules6(grounds: &[Ground]) -> Vec<(BaseChain<'static>, Rule)> {
    let with: Vec<Ground> = grounds
        .iter()
        .filter(|ground| ground.subnet6.is_some())
        .cloned()
        .collect();
    let mut all = isolation(&with);
    for ground in with.iter().filter(|ground| ground.masquerade) {
        let subnet = ground.subnet6.expect("only those are left");
        let from = Rule::new().source_in(subnet);
        all.push((POSTROUTING, from.output_is_not(&ground.bridge).masquerade()));
    }
    all
}

/// From elsewhere to a container only what was published, and answers; nothing at all where a network is internal.
fn isolation(grounds: &[Ground]) -> Vec<(BaseChain<'static>, Rule)> {
    let mut all: Vec<_> = grounds
        .iter()
        .map(|Ground { bridge, .. }| {
            let inside = Rule::new().output_is(bridge).input_is(bridge);
            (FORWARD, inside.accept())
        })
        .collect();
    for Ground { bridge, .. } in grounds.iter().filter(|ground| ground.internal) {
        all.push((FORWARD, Rule::new().input_is(bridge).drop()));
        all.push((FORWARD, Rule::new().output_is(bridge).drop()));
    }
    for Ground { bridge, .. } in grounds.iter().filter(|ground| !ground.internal) {
        let into = || Rule::new().output_is(bridge);
        all.push((FORWARD, into().connection_is_known().accept()));
        all.push((FORWARD, into().connection_is(Natted::Destination).accept()));
        all.push((FORWARD, into().drop()));
    }
    all
}

fn pairs<'a>(all: impl Iterator<Item = &'a Element>) -> Vec<MapElement> {
    all.map(|element| (element.key.clone(), element.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_name_the_address_only_when_there_is_one() {
        let mut port = PublishedPort {
            protocol: "tcp".to_owned(),
            host_ip: "0.0.0.0".to_owned(),
            host_port: 8080,
            container_ip: "172.17.0.2".to_owned(),
            container_port: 80,
        };
        let element = Element::of(&port).unwrap().unwrap();
        assert_eq!(element.map, ANY_ADDRESS);
        assert_eq!(element.key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(element.value, [172, 17, 0, 2, 0, 80, 0, 0]);
        port.host_ip = "127.0.0.1".to_owned();
        port.protocol = "udp".to_owned();
        let element = Element::of(&port).unwrap().unwrap();
        assert_eq!(element.map, ONE_ADDRESS);
        assert_eq!(element.key, [127, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(element.shown, "127.0.0.1:8080/udp");
        port.host_ip = "::".to_owned();
        assert_eq!(Element::of(&port).unwrap(), None);
    }
}

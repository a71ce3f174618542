//! What changes while an engine runs: bridges that were made, addresses and ports that are taken, and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use shim_protocol::spec::PublishedPort;

use super::firewall::Element;
use super::ipam::Addresses;
use super::layout::Layout;
use super::ports::Ports;
use super::predefined_id;
use super::segment::Segment;

/// What one container has on one network.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) container: String,
    pub(super) network: String,
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) mac: String,
    pub(super) address: Ipv4Addr,
    pub(super) address6: Option<Ipv6Addr>,
    pub(super) published: Vec<PublishedPort>,
    pub(super) elements: Vec<Element>,
}

impl Lease {
    pub(super) fn udp_ports(&self) -> Vec<u16> {
        let udp = self.published.iter().filter(|port| port.protocol == "udp");
        udp.map(|port| port.host_port).collect()
    }
}

/// A container and a network.
pub(super) type Key = (String, String);

/// What changes while the engine runs.
#[derive(Debug)]
pub(super) struct State {
    /// Of the default bridge. The file's until the bridge was seen; then the bridge's.
    pub(super) layout: Option<Layout>,
    /// The default bridge was made or checked by this process.
    pub(super) seen: bool,
    pub(super) addresses: Option<Addresses>,
    /// Networks that users made, by id.
    pub(super) segments: BTreeMap<String, Segment>,
    /// Those of them whose bridges were made or checked by this process.
    pub(super) raised: BTreeSet<String>,
    pub(super) ports: Ports,
    pub(super) leases: BTreeMap<Key, Lease>,
}

impl State {
    pub(super) fn new(layout: Option<Layout>) -> Self {
        Self {
            layout,
            seen: false,
            addresses: None,
            segments: BTreeMap::new(),
            raised: BTreeSet::new(),
            ports: Ports::new(),
            leases: BTreeMap::new(),
        }
    }

    pub(super) fn elements(&self) -> Vec<Element> {
        let all = self.leases.values();
        all.flat_map(|lease| lease.elements.iter().cloned())
            .collect()
    }

    /// Whether somebody is on the default bridge.
    pub(super) fn default_in_use(&self) -> bool {
        let id = predefined_id("bridge");
        self.leases.values().any(|lease| lease.network == id)
    }

    /// Adopts a layout of the default bridge; addresses start anew when it is another one.
    pub(super) fn set_layout(&mut self, layout: Layout) -> &mut Addresses {
        let same = self
            .layout
            .is_some_and(|old| old.bridge_address() == layout.bridge_address());
        self.layout = Some(layout);
        if !same {
            self.addresses = None;
        }
        self.addresses
            .get_or_insert_with(|| Addresses::new(&layout))
    }

    pub(super) fn forget(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        if !lease.published.is_empty() {
            self.ports.release(&lease.container);
        }
        match self.segments.get_mut(&lease.network) {
            Some(segment) => {
                segment.addresses.release(lease.address);
                if let Some(address) = lease.address6 {
                    segment.taken6.remove(&address);
                }
            }
            None => {
                if let Some(addresses) = &mut self.addresses {
                    addresses.release(lease.address);
                }
            }
        }
        Some(lease)
    }

    pub(super) fn keys_of(&self, container: &str) -> Vec<Key> {
        let keys = self.leases.keys();
        keys.filter(|(holder, _)| holder == container)
            .cloned()
            .collect()
    }
}

//! Giving a container its place on the network, and taking it back.
//!
//! Steps of [`Network::connect`]:
//! 1. The bridge, the firewall tables and the accepting rules are there and current.
//! 2. An address is taken.
//! 3. Host ports are bound.
//! 4. Tracked UDP flows to those ports are forgotten, and the ports are published.
//!
//! A failed step undoes the earlier ones; a crash leaves at most published ports that lead nowhere, which
//! [`Network::reconcile`] removes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use shim_protocol::spec::{Interface, PublishedPort};
use sys::netlink::{link_delete_index, link_exists, link_info};
use sys::nftables::{Family, Netfilter, NftablesError};

use super::bridge::with_length;
use super::firewall::{Element, Firewall};
use super::forward::Accept;
use super::ipam::{Addresses, mac_text};
use super::layout::{LENGTH6, Layout};
use super::ports::{PortRequest, Ports};
use super::{Network, NetworkError};

/// What a container was given.
#[derive(Debug)]
pub struct Connected {
    /// For the runtime.
    pub interface: Interface,
    /// One entry for each host address and port.
    pub published: Vec<PublishedPort>,
    /// One for each entry of `published`, in that order: listening for TCP, bound for UDP.
    pub sockets: Vec<OwnedFd>,
    pub ip: String,
    pub prefix_len: u8,
    pub gateway: String,
    pub mac: String,
    pub ip6: Option<String>,
    pub prefix_len6: Option<u8>,
    pub gateway6: Option<String>,
}

/// What one container has.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    pub(super) address6: Option<Ipv6Addr>,
    pub(super) published: Vec<PublishedPort>,
    pub(super) elements: Vec<Element>,
}

impl Lease {
    fn udp_ports(&self) -> Vec<u16> {
        let udp = self.published.iter().filter(|port| port.protocol == "udp");
        udp.map(|port| port.host_port).collect()
    }
}

/// What changes while the engine runs.
#[derive(Debug)]
pub(super) struct State {
    /// The file's until the bridge was seen; then the bridge's.
    pub(super) layout: Option<Layout>,
    /// The bridge and the tables were made or checked by this process.
    pub(super) seen: bool,
    pub(super) addresses: Option<Addresses>,
    pub(super) ports: Ports,
    pub(super) leases: BTreeMap<String, Lease>,
}

impl State {
    pub(super) fn new(layout: Option<Layout>) -> Self {
        Self {
            layout,
            seen: false,
            addresses: None,
            ports: Ports::new(),
            leases: BTreeMap::new(),
        }
    }

    pub(super) fn elements(&self) -> Vec<Element> {
        let all = self.leases.values();
        all.flat_map(|lease| lease.elements.iter().cloned())
            .collect()
    }

    /// Adopts a layout; addresses start anew when it is another one.
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

    fn forget(&mut self, container: &str) -> Option<Lease> {
        self.ports.release(container);
        let lease = self.leases.remove(container)?;
        if let Some(addresses) = &mut self.addresses {
            addresses.release(lease.address);
        }
        Some(lease)
    }
}

impl Network {
    /// The socket to the firewall, opened once.
    fn netfilter(&self) -> Result<&Netfilter, NftablesError> {
        if let Some(netfilter) = self.netfilter.get() {
            return Ok(netfilter);
        }
        let opened = Netfilter::open()?;
        Ok(self.netfilter.get_or_init(|| opened))
    }

    pub(super) fn firewall(&self) -> Result<Firewall<'_>, NftablesError> {
        Ok(Firewall {
            netfilter: self.netfilter()?,
            table: &self.names.table,
            bridge: &self.names.bridge,
        })
    }

    pub(super) fn accept(&self) -> Result<Accept<'_>, NftablesError> {
        Ok(Accept {
            netfilter: self.netfilter()?,
            bridge: &self.names.bridge,
            comment: &self.names.table,
        })
    }

    /// Step 1: everything that all containers share.
    pub(super) fn ensure(&self, state: &mut State) -> Result<Layout, NetworkError> {
        let keep = !state.leases.is_empty();
        let again = state.seen;
        let layout = if again || keep {
            self.ensure_bridge(state.layout, keep)?
        } else {
            self.first_bridge(state)?
        };
        state.set_layout(layout);
        state.seen = true;
        let renewed = self.firewall()?.ensure(&layout, &state.elements())?;
        if renewed && again {
            tracing::warn!(
                table = self.names.table,
                "firewall tables were gone or changed"
            );
        }
        self.accept_forwarding(&layout)?;
        Ok(layout)
    }

    /// The first time in this process: a bridge that is left over keeps its addresses. What was remembered says nothing
    /// about IPv6, the bridge does.
    fn first_bridge(&self, state: &State) -> Result<Layout, NetworkError> {
        let name = &self.names.bridge;
        let exists =
            link_exists(name).map_err(NetworkError::device(format!("look up bridge {name}")))?;
        self.ensure_bridge(state.layout.filter(|_| !exists), false)
    }

    /// A foreign firewall that cannot be changed may still let everything pass, so this does not fail.
    fn accept_forwarding(&self, layout: &Layout) -> Result<(), NftablesError> {
        let accept = self.accept()?;
        for family in [Family::Ip, Family::Ip6] {
            if family == Family::Ip6 && layout.gateway6.is_none() {
                continue;
            }
            if let Err(error) = accept.ensure(family) {
                tracing::warn!(error = %Chain(&error), "forwarding may be blocked by the host's firewall");
            }
        }
        Ok(())
    }

    /// Prepares everything for a container's start. Connecting again first takes back what it had.
    ///
    /// # Errors
    /// Among others [`NetworkError::PortAllocated`] and [`NetworkError::Bind`]. Nothing is kept then.
    pub fn connect(
        &self,
        container_id: &str,
        ports: &[PortRequest],
    ) -> Result<Connected, NetworkError> {
        let mut state = self.state();
        self.take_back(&mut state, container_id)?;
        let layout = self.ensure(&mut state)?;
        let address =
            state
                .set_layout(layout)
                .allocate()
                .ok_or_else(|| NetworkError::NoFreeAddress {
                    bridge: self.names.bridge.clone(),
                    subnet: layout.subnet().to_string(),
                })?;
        let lease = Lease {
            address,
            address6: layout.address6(address),
            published: Vec::new(),
            elements: Vec::new(),
        };
        state.leases.insert(container_id.to_owned(), lease);
        let published = self.publish(&mut state, container_id, address, ports);
        match published {
            Ok((published, sockets)) => {
                drop(state);
                Ok(self.describe(container_id, &layout, address, published, sockets))
            }
            Err(error) => {
                state.forget(container_id);
                Err(error)
            }
        }
    }

    /// Steps 3 and 4.
    fn publish(
        &self,
        state: &mut State,
        container_id: &str,
        address: Ipv4Addr,
        requests: &[PortRequest],
    ) -> Result<(Vec<PublishedPort>, Vec<OwnedFd>), NetworkError> {
        let reserved = state.ports.reserve(container_id, address, requests)?;
        let elements = elements(&reserved.published)?;
        if !elements.is_empty() {
            self.firewall()?.publish(&elements)?;
        }
        if let Some(lease) = state.leases.get_mut(container_id) {
            lease.published.clone_from(&reserved.published);
            lease.elements = elements;
            self.forget_flows(lease)?;
        }
        Ok((reserved.published, reserved.sockets))
    }

    fn describe(
        &self,
        container_id: &str,
        layout: &Layout,
        address: Ipv4Addr,
        published: Vec<PublishedPort>,
        sockets: Vec<OwnedFd>,
    ) -> Connected {
        let ip6 = layout.address6(address).map(|address| address.to_string());
        let gateway6 = layout.gateway6.map(|address| address.to_string());
        let interface = Interface {
            bridge: self.names.bridge.clone(),
            host_name: self.names.veth(container_id),
            name: "eth0".to_owned(),
            mac: mac_text(address),
            address: with_length(address, layout.length),
            gateway: Some(layout.gateway.to_string()),
            address6: ip6.as_ref().map(|address| format!("{address}/{LENGTH6}")),
            gateway6: gateway6.clone(),
            mtu: self.bridge_mtu(),
        };
        Connected {
            published,
            sockets,
            ip: address.to_string(),
            prefix_len: layout.length,
            gateway: layout.gateway.to_string(),
            mac: interface.mac.clone(),
            prefix_len6: ip6.as_ref().map(|_| LENGTH6),
            ip6,
            gateway6,
            interface,
        }
    }

    /// Takes back a container's address and ports. It is not an error that it has none.
    ///
    /// The veth pair goes with the container's namespace; when that is kept alive by somebody, the pair is deleted here,
    /// in the background, because deleting takes the kernel tens of milliseconds.
    pub fn disconnect(&self, container_id: &str) -> Result<(), NetworkError> {
        let result = self.take_back(&mut self.state(), container_id);
        self.delete_veth(&self.names.veth(container_id));
        result
    }

    fn take_back(&self, state: &mut State, container_id: &str) -> Result<(), NetworkError> {
        let Some(lease) = state.leases.get(container_id).cloned() else {
            return Ok(());
        };
        if !lease.elements.is_empty() {
            self.firewall()?.unpublish(lease.address)?;
        }
        state.forget(container_id);
        self.forget_flows(&lease)?;
        Ok(())
    }

    /// Only a nuisance when it fails: senders that keep their port wait half a minute.
    fn forget_flows(&self, lease: &Lease) -> Result<(), NftablesError> {
        let ports = lease.udp_ports();
        if ports.is_empty() {
            return Ok(());
        }
        match self
            .netfilter()?
            .forget_udp_flows(&ports, IpAddr::V4(lease.address))
        {
            Ok(forgotten) => tracing::debug!(forgotten, "tracked udp flows"),
            Err(error) => tracing::warn!(%error, "tracked udp flows could not be forgotten"),
        }
        Ok(())
    }

    /// By index: a device of this name that appears meanwhile belongs to the container's next start.
    fn delete_veth(&self, name: &str) {
        let link = match link_info(name) {
            Ok(None) => return,
            Ok(Some(link)) => link,
            Err(error) => {
                tracing::warn!(name, %error, "network device could not be looked up");
                return;
            }
        };
        let work = move || {
            if let Err(error) = link_delete_index(link.index) {
                tracing::warn!(link.name, %error, "network device of a stopped container is left");
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("delete-veth".to_owned())
            .spawn(work)
        {
            tracing::warn!(%error, "no thread to delete a network device");
        }
    }
}

/// The elements of what is published on IPv4.
pub(super) fn elements(published: &[PublishedPort]) -> Result<Vec<Element>, NetworkError> {
    published
        .iter()
        .filter_map(|port| Element::of(port).transpose())
        .collect()
}

/// An error with its causes in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(out, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

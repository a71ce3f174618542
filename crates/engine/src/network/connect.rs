//! Giving a container its place on a network, and taking it back.
//!
//! Steps of [`Network::connect`]:
//! 1. The bridge, the firewall tables and the accepting rules are there and current.
//! 2. An address is taken.
//! 3. Host ports are bound.
//! 4. Tracked UDP flows to those ports are forgotten, and the ports are published.
//!
//! A failed step undoes the earlier ones; a crash leaves at most published ports that lead nowhere, which
//! [`Network::reconcile`] removes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use shim_protocol::spec::{Interface, PublishedPort};
use sys::netlink::{link_delete_index, link_exists, link_info};
use sys::nftables::{Family, Netfilter, NftablesError};

use super::bridge::with_length;
use super::firewall::{Firewall, Ground};
use super::forward::Accept;
use super::ipam::mac_text;
use super::layout::Layout;
use super::ports::PortRequest;
use super::publish::with_host;
use super::segment::Segment;
use super::state::{Key, Lease, State};
use super::{Network, NetworkError, predefined_id};

/// How a container wants to be on a network.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Id of the network.
    pub network: String,
    /// What the container is called, for people.
    pub name: String,
    pub address: Option<Ipv4Addr>,
    pub address6: Option<Ipv6Addr>,
    /// `02:42:…`
    pub mac: Option<String>,
    /// Name of the interface inside: `eth0`.
    pub device: String,
    /// The way out leads through this network.
    pub gateway: bool,
    pub ports: Vec<PortRequest>,
}

impl Default for Wish {
    /// On the default bridge, as its only network.
    fn default() -> Self {
        Self {
            network: predefined_id("bridge"),
            name: String::new(),
            address: None,
            address6: None,
            mac: None,
            device: "eth0".to_owned(),
            gateway: true,
            ports: Vec::new(),
        }
    }
}

/// What a container was given.
#[derive(Debug)]
pub struct Connected {
    /// 64 hex digits.
    pub endpoint: String,
    /// For the runtime.
    pub interface: Interface,
    /// One entry for each host address and port.
    pub published: Vec<PublishedPort>,
    /// One for each entry of `published`, in that order: listening for TCP, bound for UDP.
    pub sockets: Vec<OwnedFd>,
    pub ip: String,
    pub prefix_len: u8,
    /// Empty when the network leads nowhere.
    pub gateway: String,
    pub mac: String,
    pub ip6: Option<String>,
    pub prefix_len6: Option<u8>,
    pub gateway6: Option<String>,
}

/// A network that somebody is going to be on.
struct Place {
    bridge: String,
    layout: Layout,
    internal: bool,
    isolated: bool,
    host_binding: Option<String>,
}

impl Network {
    /// The socket to the firewall, opened once.
    pub(super) fn netfilter(&self) -> Result<&Netfilter, NftablesError> {
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
        })
    }

    fn accept<'a>(&'a self, bridges: Vec<&'a str>) -> Result<Accept<'a>, NftablesError> {
        Ok(Accept {
            netfilter: self.netfilter()?,
            bridges,
            comment: &self.names.table,
        })
    }

    /// The networks that are there, as the firewall sees them.
    fn grounds(&self, state: &State) -> Vec<Ground> {
        let default = state.layout.filter(|_| state.seen).map(|layout| Ground {
            bridge: self.names.bridge.clone(),
            subnet: layout.subnet(),
            subnet6: layout.subnet6(),
            internal: false,
            masquerade: true,
        });
        let raised = state.raised.iter();
        let segments = raised.filter_map(|id| state.segments.get(id));
        default
            .into_iter()
            .chain(segments.map(Segment::ground))
            .collect()
    }

    /// The tables and the accepting rules agree with the networks that are there.
    pub(super) fn refresh_rules(&self, state: &State) -> Result<(), NetworkError> {
        let grounds = self.grounds(state);
        self.firewall()?.ensure(&grounds, &state.elements())?;
        let bridges = grounds.iter().map(|ground| ground.bridge.as_str());
        let accept = self.accept(bridges.collect())?;
        for family in [Family::Ip, Family::Ip6] {
            let v6 = grounds.iter().any(|ground| ground.subnet6.is_some());
            if family == Family::Ip6 && !v6 {
                continue;
            }
            // A foreign firewall that cannot be changed may still let everything pass.
            if let Err(error) = accept.ensure(family) {
                tracing::warn!(error = %Chain(&error), "forwarding may be blocked by the host's firewall");
            }
        }
        Ok(())
    }

    /// Removes the tables and the accepting rules. Returns whether there were any.
    pub(super) fn remove_rules(&self) -> Result<bool, NetworkError> {
        let mut found = self.firewall()?.remove()?;
        for family in [Family::Ip, Family::Ip6] {
            found |= self.accept(Vec::new())?.remove(family)?;
        }
        Ok(found)
    }

    /// Step 1 for the default bridge.
    pub(super) fn ensure(&self, state: &mut State) -> Result<Layout, NetworkError> {
        let keep = state.default_in_use();
        let layout = if state.seen || keep {
            self.ensure_bridge(state.layout, keep)?
        } else {
            self.first_bridge(state)?
        };
        state.set_layout(layout);
        state.seen = true;
        self.refresh_rules(state)?;
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

    /// Step 1.
    fn place(&self, state: &mut State, network: &str) -> Result<Place, NetworkError> {
        if network == predefined_id("bridge") {
            let layout = self.ensure(state)?;
            return Ok(Place {
                bridge: self.names.bridge.clone(),
                layout,
                internal: false,
                isolated: false,
                host_binding: None,
            });
        }
        self.ensure_segment(state, network)?;
        let segment = state.segments.get(network).expect("it was just ensured");
        Ok(Place {
            bridge: segment.plan.bridge.clone(),
            layout: segment.layout,
            internal: segment.plan.internal,
            isolated: segment.plan.isolated,
            host_binding: segment.plan.host_binding.clone(),
        })
    }

    /// Step 2.
    fn take_address(
        &self,
        state: &mut State,
        wish: &Wish,
        place: &Place,
    ) -> Result<(Ipv4Addr, Option<Ipv6Addr>), NetworkError> {
        let layout = place.layout;
        let addresses = match state.segments.get_mut(&wish.network) {
            Some(segment) => &mut segment.addresses,
            None => state.set_layout(layout),
        };
        let address = match wish.address {
            Some(wanted) if addresses.reserve(wanted) => wanted,
            Some(_) => return Err(NetworkError::AddressTaken),
            None => addresses
                .allocate()
                .ok_or_else(|| NetworkError::NoFreeAddress {
                    bridge: place.bridge.clone(),
                    subnet: layout.subnet().to_string(),
                })?,
        };
        let Some(segment) = state.segments.get_mut(&wish.network) else {
            return Ok((address, layout.address6(address)));
        };
        match segment.take6(wish.address6, address) {
            Ok(address6) => Ok((address, address6)),
            Err(error) => {
                segment.addresses.release(address);
                Err(error)
            }
        }
    }

    /// Prepares everything for a container's place on a network. Connecting again first takes back what it had there.
    ///
    /// # Errors
    /// Among others [`NetworkError::PortAllocated`] and [`NetworkError::Bind`]. Nothing is kept then.
    pub fn connect(&self, container: &str, wish: &Wish) -> Result<Connected, NetworkError> {
        let mut state = self.state();
        let key = (container.to_owned(), wish.network.clone());
        self.take_back(&mut state, &key)?;
        let place = self.place(&mut state, &wish.network)?;
        let (address, address6) = self.take_address(&mut state, wish, &place)?;
        let mac = wish.mac.clone().unwrap_or_else(|| mac_text(address));
        let lease = Lease {
            container: container.to_owned(),
            network: wish.network.clone(),
            name: wish.name.clone(),
            endpoint: store::ContainerId::random().to_string(),
            mac,
            address,
            address6,
            published: Vec::new(),
            elements: Vec::new(),
        };
        state.leases.insert(key.clone(), lease.clone());
        let requests = if place.internal { &[][..] } else { &wish.ports };
        match self.publish(&mut state, &key, &bound_to(requests, &place)) {
            Ok(sockets) => {
                let published = state.leases[&key].published.clone();
                drop(state);
                Ok(self.describe(&lease, wish, &place, published, sockets))
            }
            Err(error) => {
                state.forget(&key);
                Err(error)
            }
        }
    }

    fn describe(
        &self,
        lease: &Lease,
        wish: &Wish,
        place: &Place,
        published: Vec<PublishedPort>,
        sockets: Vec<OwnedFd>,
    ) -> Connected {
        let layout = &place.layout;
        let ip6 = lease.address6.map(|address| address.to_string());
        let open = !place.internal;
        let gateway = open.then(|| layout.gateway.to_string());
        let gateway6 = layout
            .gateway6
            .filter(|_| open)
            .map(|address| address.to_string());
        let interface = Interface {
            bridge: place.bridge.clone(),
            host_name: self.names.veth(&lease.container, &lease.network),
            name: wish.device.clone(),
            mac: lease.mac.clone(),
            address: with_length(lease.address, layout.length),
            gateway: gateway.clone().filter(|_| wish.gateway),
            address6: ip6
                .as_ref()
                .map(|address| format!("{address}/{}", layout.length6)),
            gateway6: gateway6.clone().filter(|_| wish.gateway),
            mtu: self.mtu_of(&place.bridge),
            isolated: place.isolated,
        };
        Connected {
            endpoint: lease.endpoint.clone(),
            published,
            sockets,
            ip: lease.address.to_string(),
            prefix_len: layout.length,
            gateway: gateway.unwrap_or_default(),
            mac: interface.mac.clone(),
            prefix_len6: ip6.as_ref().map(|_| layout.length6),
            ip6,
            gateway6,
            interface,
        }
    }

    /// Takes back a container's address and ports on one network. It is not an error that it has none.
    ///
    /// The veth pair goes with the container's namespace; when that is kept alive by somebody, the pair is deleted here,
    /// in the background, because deleting takes the kernel tens of milliseconds.
    pub fn disconnect(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        let key = (container.to_owned(), network.to_owned());
        let result = self.take_back(&mut self.state(), &key);
        self.delete_veth(&self.names.veth(container, network));
        result
    }

    /// [`Network::disconnect`] from every network.
    pub fn disconnect_all(&self, container: &str) -> Result<(), NetworkError> {
        let keys = self.state().keys_of(container);
        let mut result = Ok(());
        for (_, network) in keys {
            result = result.and(self.disconnect(container, &network));
        }
        result
    }

    /// What people call a connected container from now on.
    pub fn rename(&self, container: &str, name: &str) {
        for lease in self.state().leases.values_mut() {
            if lease.container == container {
                name.clone_into(&mut lease.name);
            }
        }
    }

    fn take_back(&self, state: &mut State, key: &Key) -> Result<(), NetworkError> {
        let Some(lease) = state.leases.get(key).cloned() else {
            return Ok(());
        };
        if !lease.elements.is_empty() {
            self.firewall()?.unpublish(lease.address)?;
        }
        state.forget(key);
        self.forget_flows(&lease)?;
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

fn bound_to(requests: &[PortRequest], place: &Place) -> Vec<PortRequest> {
    with_host(requests, place.host_binding.as_deref())
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

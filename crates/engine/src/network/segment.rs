//! A network of a user's making, as it is on the host: its bridge, and the addresses on it.
//!
//! The bridge is there from the network's creation to its removal, while an engine runs; [`Network::raise`] makes it, and
//! makes it again after a reboot. A bridge that is left over from a killed engine is adopted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sys::netlink::{Prefix, link_delete, link_info};

use super::firewall::Ground;
use super::ipam::Addresses;
use super::layout::{LENGTH6, Layout, around};
use super::state::State;
use super::{Network, NetworkError};

/// What a network was given when it was made; kept in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Name of the device.
    pub(crate) bridge: String,
    /// `172.18.0.1/16`: address of the bridge, and the network around it.
    pub(crate) gateway: String,
    pub(crate) gateway6: Option<String>,
    /// From which addresses are handed out, when not from all.
    pub(crate) range: Option<String>,
    /// Never handed out.
    pub(crate) reserved: Vec<String>,
    pub(crate) internal: bool,
    /// Containers do not reach each other (`enable_icc=false`).
    pub(crate) isolated: bool,
    pub(crate) masquerade: bool,
    /// Where ports are published that name no host address.
    pub(crate) host_binding: Option<String>,
    pub(crate) mtu: Option<u32>,
}

/// A network and who has which of its addresses.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) plan: Plan,
    pub(super) layout: Layout,
    pub(super) addresses: Addresses,
    pub(super) taken6: BTreeSet<Ipv6Addr>,
}

impl Segment {
    pub(super) fn new(plan: Plan) -> Result<Self, NetworkError> {
        let invalid = |text: &str| NetworkError::InvalidInterface(text.to_owned());
        let prefix = |text: &str| text.parse::<Prefix>().map_err(|_| invalid(text));
        let mut layout = around(prefix(&plan.gateway)?).ok_or_else(|| invalid(&plan.gateway))?;
        if let Some(text) = &plan.gateway6 {
            let gateway = prefix(text)?;
            let IpAddr::V6(address) = gateway.address else {
                return Err(invalid(text));
            };
            layout.gateway6 = Some(address);
            layout.length6 = gateway.length;
        }
        let range = plan.range.as_deref().map(prefix).transpose()?;
        let reserved: Vec<IpAddr> = plan
            .reserved
            .iter()
            .map(|text| text.parse().map_err(|_| invalid(text)))
            .collect::<Result<_, _>>()?;
        let v4 = reserved.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let v6 = reserved.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        });
        Ok(Self {
            addresses: Addresses::new(&layout).narrowed(range, v4),
            taken6: v6.chain(layout.gateway6).collect(),
            layout,
            plan,
        })
    }

    pub(super) fn ground(&self) -> Ground {
        Ground {
            bridge: self.plan.bridge.clone(),
            subnet: self.layout.subnet(),
            subnet6: self.layout.subnet6(),
            internal: self.plan.internal,
            masquerade: self.plan.masquerade && !self.plan.internal,
        }
    }

    /// A container's IPv6 address: the one that was asked for, else the one that goes with its IPv4 address, else the next.
    pub(super) fn take6(
        &mut self,
        wanted: Option<Ipv6Addr>,
        address: Ipv4Addr,
    ) -> Result<Option<Ipv6Addr>, NetworkError> {
        let Some(subnet) = self.layout.subnet6() else {
            return Ok(None);
        };
        if let Some(wanted) = wanted {
            if !self.taken6.insert(wanted) {
                return Err(NetworkError::AddressTaken);
            }
            return Ok(Some(wanted));
        }
        let Some(first) = self.layout.address6(address) else {
            return Ok(None);
        };
        let mut candidate = first.to_bits();
        loop {
            let address = Ipv6Addr::from_bits(candidate);
            if !subnet.contains(IpAddr::V6(address)) {
                return Err(NetworkError::NoFreeAddress {
                    bridge: self.plan.bridge.clone(),
                    subnet: subnet.to_string(),
                });
            }
            if self.taken6.insert(address) {
                return Ok(Some(address));
            }
            candidate = candidate.wrapping_add(1);
        }
    }
}

/// A prefix of 64 bits of a network's own, for one that has IPv6 without a prefix of the user's.
pub(crate) fn own_prefix6(id: &str) -> String {
    format!("{}/{LENGTH6}", super::layout::gateway6(id))
}

impl Network {
    /// Makes a network's bridge and rules, or adopts them. Idempotent. `chosen`: the subnet must still be free.
    ///
    /// # Errors
    /// [`NetworkError::SubnetTaken`] when it is not.
    /// [`NetworkError::NameTaken`] when the device's name belongs to something else.
    pub(crate) fn raise(&self, id: &str, plan: &Plan, chosen: bool) -> Result<(), NetworkError> {
        let mut state = self.state();
        if !state.segments.contains_key(id) {
            let segment = Segment::new(plan.clone())?;
            state.segments.insert(id.to_owned(), segment);
        }
        let result = self.make_segment(&mut state, id, chosen);
        if result.is_err() {
            state.raised.remove(id);
        }
        result
    }

    /// The network is known, its bridge is made when it is needed: a device of the host is in the way now.
    pub(crate) fn know(&self, id: &str, plan: &Plan) -> Result<(), NetworkError> {
        let segment = Segment::new(plan.clone())?;
        self.state().segments.insert(id.to_owned(), segment);
        Ok(())
    }

    /// Takes a network's bridge away; it is no error that there is none. Nobody may be connected.
    pub(crate) fn lower(&self, id: &str, plan: &Plan) -> Result<(), NetworkError> {
        let mut state = self.state();
        state.segments.remove(id);
        state.raised.remove(id);
        let name = &plan.bridge;
        let failed = |verb: &str| NetworkError::device(format!("{verb} bridge {name}"));
        if let Some(link) = link_info(name).map_err(failed("look up"))?
            && link.kind == "bridge"
        {
            link_delete(name).map_err(failed("delete"))?;
        }
        self.refresh_rules(&state)
    }

    /// Forgets a network that nobody is connected to, so that nobody can connect while it is removed.
    ///
    /// # Errors
    /// [`NetworkError::ActiveEndpoints`]
    pub(crate) fn retire(&self, id: &str, name: &str) -> Result<(), NetworkError> {
        let mut state = self.state();
        let active: Vec<String> = state
            .leases
            .values()
            .filter(|lease| lease.network == id)
            .map(|lease| {
                let endpoint = lease.endpoint.get(..12).unwrap_or(&lease.endpoint);
                format!("name:\"{}\" id:\"{endpoint}\"", lease.name)
            })
            .collect();
        if !active.is_empty() {
            return Err(NetworkError::ActiveEndpoints {
                name: name.to_owned(),
                endpoints: active.join(", "),
            });
        }
        state.segments.remove(id);
        Ok(())
    }

    /// The bridge is there, up, and known to the firewall.
    pub(super) fn ensure_segment(&self, state: &mut State, id: &str) -> Result<(), NetworkError> {
        self.make_segment(state, id, false)
    }

    fn make_segment(&self, state: &mut State, id: &str, chosen: bool) -> Result<(), NetworkError> {
        let Some(segment) = state.segments.get(id) else {
            return Err(NetworkError::NotFound(id.to_owned()));
        };
        let plan = &segment.plan;
        self.make_bridge(&plan.bridge, &segment.layout, plan.mtu, chosen)?;
        state.raised.insert(id.to_owned());
        self.refresh_rules(state)
    }

    /// What all networks that are there have from each other, with anybody on them or not.
    pub(super) fn segments_down(&self, state: &mut State) -> Result<bool, NetworkError> {
        let mut found = false;
        for segment in state.segments.values() {
            let name = &segment.plan.bridge;
            let failed = |verb: &str| NetworkError::device(format!("{verb} bridge {name}"));
            if let Some(link) = link_info(name).map_err(failed("look up"))?
                && link.kind == "bridge"
            {
                found |= link_delete(name).map_err(failed("delete"))?;
            }
        }
        state.raised.clear();
        Ok(found)
    }
}

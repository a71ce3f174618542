//! After a crash and at the end: what is ours and belongs to nobody is found by its name and removed.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shim_protocol::spec::{Interface, PublishedPort};
use sys::netlink::{Prefix, link_delete, link_exists, links};

use super::layout::around;
use super::publish::elements;
use super::state::{Lease, State};
use super::{Network, NetworkError, predefined_id};

/// What a running container has, as its record says.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    pub container: &'a str,
    /// What it is called, for people.
    pub name: &'a str,
    /// Id of the network.
    pub network: &'a str,
    pub endpoint: &'a str,
    pub interface: &'a Interface,
    pub published: &'a [PublishedPort],
}

impl Network {
    /// Takes back into memory what a running container has, at the start of an engine.
    ///
    /// # Errors
    /// [`NetworkError::InvalidInterface`] when the stored addresses cannot be read or another container has them.
    pub fn restore(&self, held: Held<'_>) -> Result<(), NetworkError> {
        let interface = held.interface;
        let invalid = || NetworkError::InvalidInterface(interface.address.clone());
        let prefix: Prefix = interface.address.parse().map_err(|_| invalid())?;
        let IpAddr::V4(address) = prefix.address else {
            return Err(invalid());
        };
        let address6: Option<Ipv6Addr> = match &interface.address6 {
            Some(text) => {
                let prefix: Prefix = text
                    .parse()
                    .map_err(|_| NetworkError::InvalidInterface(text.clone()))?;
                match prefix.address {
                    IpAddr::V6(address) => Some(address),
                    IpAddr::V4(_) => return Err(NetworkError::InvalidInterface(text.clone())),
                }
            }
            None => None,
        };
        let elements = elements(held.published)?;
        let mut state = self.state();
        let key = (held.container.to_owned(), held.network.to_owned());
        if state.leases.contains_key(&key) {
            return Ok(());
        }
        if held.network == predefined_id("bridge") {
            self.believe(&mut state, prefix, interface)?;
            let layout = state.layout.ok_or_else(invalid)?;
            if !state.set_layout(layout).reserve(address) {
                return Err(invalid());
            }
        } else {
            let segment = state
                .segments
                .get_mut(held.network)
                .ok_or_else(|| NetworkError::NotFound(held.network.to_owned()))?;
            if !segment.addresses.reserve(address) {
                return Err(invalid());
            }
            segment.taken6.extend(address6);
        }
        state.ports.restore(held.container, held.published)?;
        let lease = Lease {
            container: held.container.to_owned(),
            network: held.network.to_owned(),
            name: held.name.to_owned(),
            endpoint: held.endpoint.to_owned(),
            mac: interface.mac.clone(),
            address,
            address6,
            published: held.published.to_vec(),
            elements,
        };
        state.leases.insert(key, lease);
        Ok(())
    }

    /// The first running container knows the default bridge's layout best: the file may be lost or changed.
    fn believe(
        &self,
        state: &mut State,
        prefix: Prefix,
        interface: &Interface,
    ) -> Result<(), NetworkError> {
        if state.default_in_use() {
            return Ok(());
        }
        let gateway: Option<Ipv4Addr> = interface
            .gateway
            .as_deref()
            .and_then(|text| text.parse().ok());
        // A container whose way out is another network does not say it; then the file must do.
        let Some(gateway) = gateway else {
            return Ok(());
        };
        let layout = around(Prefix {
            address: IpAddr::V4(gateway),
            length: prefix.length,
        })
        .ok_or_else(|| NetworkError::InvalidInterface(interface.address.clone()))?;
        state.set_layout(layout.with_ipv6(&self.config.tag, interface.address6.is_some()));
        Ok(())
    }

    /// Makes the host agree with the containers that are `live`: leases of others end, devices and published ports of
    /// nobody go, missing ports and rules come back. Without a live container everything goes that belongs to no network.
    ///
    /// Called once at the start, after every [`Network::restore`] and before any [`Network::connect`]; harmless later.
    /// Returns a sentence for each repair.
    pub fn reconcile(&self, live: &[String]) -> Result<Vec<String>, NetworkError> {
        let mut repaired = Vec::new();
        let gone: HashSet<String> = {
            let state = self.state();
            let ids = state.leases.keys().map(|(container, _)| container);
            ids.filter(|id| !live.contains(id)).cloned().collect()
        };
        for id in gone {
            self.disconnect_all(&id)?;
            let short = id.get(..12).unwrap_or(&id);
            repaired.push(format!("network of stopped container {short} was released"));
        }
        let mut state = self.state();
        let held = state.leases.keys();
        let keep: HashSet<String> = held
            .map(|(container, network)| self.names.veth(container, network))
            .collect();
        for name in self.delete_veths(&state, &keep)? {
            repaired.push(format!("network device {name} of no container was removed"));
        }
        if state.default_in_use() {
            self.ensure(&mut state)?;
        } else if self.remove_default(&mut state)? {
            repaired.push(format!(
                "bridge {} of no container was removed",
                self.names.bridge
            ));
        }
        if !state.seen && state.raised.is_empty() {
            if self.remove_rules()? {
                repaired.push("firewall rules of no network were removed".to_owned());
            }
            return Ok(repaired);
        }
        self.refresh_rules(&state)?;
        let done = self.firewall()?.synchronise(&state.elements())?;
        if done.removed > 0 {
            repaired.push(format!(
                "{} published ports of no container were closed",
                done.removed
            ));
        }
        for port in done.added {
            repaired.push(format!("port {port} was published again"));
        }
        Ok(repaired)
    }

    /// Removes everything from the host when no container is connected; else does nothing. For the engine's end.
    pub fn shutdown(&self) -> Result<(), NetworkError> {
        let mut state = self.state();
        if !state.leases.is_empty() {
            return Ok(());
        }
        self.delete_veths(&state, &HashSet::new())?;
        self.remove_default(&mut state)?;
        self.segments_down(&mut state)?;
        self.remove_rules()?;
        Ok(())
    }

    /// Deletes host ends of veth pairs except these; returns their names.
    fn delete_veths(
        &self,
        state: &State,
        keep: &HashSet<String>,
    ) -> Result<Vec<String>, NetworkError> {
        let mut deleted = Vec::new();
        let all = links().map_err(NetworkError::device("list network devices"))?;
        let segments = state.segments.values();
        let bridges: HashSet<&str> = segments
            .map(|segment| segment.plan.bridge.as_str())
            .chain([self.names.bridge.as_str()])
            .collect();
        let bridges: HashSet<u32> = all
            .iter()
            .filter(|link| bridges.contains(link.name.as_str()))
            .map(|link| link.index)
            .collect();
        for link in all {
            let ours = link.kind == "veth"
                && link.name.starts_with(&self.names.veth_prefix)
                // The tag is cut short in names; a port of another bridge is another engine's.
                && link.master.is_none_or(|master| bridges.contains(&master))
                && link.name.len() == self.names.veth("00000000", "").len();
            if !ours || keep.contains(&link.name) {
                continue;
            }
            let name = link.name;
            if link_delete(&name).map_err(NetworkError::device(format!("delete {name}")))? {
                deleted.push(name);
            }
        }
        Ok(deleted)
    }

    /// The default bridge. Returns whether there was one.
    fn remove_default(&self, state: &mut State) -> Result<bool, NetworkError> {
        state.seen = false;
        let name = &self.names.bridge;
        let failed = |verb: &str| NetworkError::device(format!("{verb} bridge {name}"));
        if link_exists(name).map_err(failed("look up"))? {
            return link_delete(name).map_err(failed("delete"));
        }
        Ok(false)
    }
}

//! After a crash and at the end: what is ours and belongs to nobody is found by its name and removed.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shim_protocol::spec::{Interface, PublishedPort};
use sys::netlink::{Prefix, link_delete, link_exists, links};
use sys::nftables::Family;

use super::connect::{Lease, State, elements};
use super::layout::around;
use super::{Network, NetworkError};

impl Network {
    /// Takes back into memory what a running container has, at the start of an engine.
    ///
    /// # Errors
    /// [`NetworkError::InvalidInterface`] when the stored addresses cannot be read or another container has them.
    pub fn restore(
        &self,
        container_id: &str,
        interface: &Interface,
        published: &[PublishedPort],
    ) -> Result<(), NetworkError> {
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
        let elements = elements(published)?;
        let mut state = self.state();
        if state.leases.contains_key(container_id) {
            return Ok(());
        }
        self.believe(&mut state, prefix, interface)?;
        let layout = state.layout.ok_or_else(invalid)?;
        if !state.set_layout(layout).reserve(address) {
            return Err(invalid());
        }
        state.ports.restore(container_id, published)?;
        let lease = Lease {
            address,
            address6,
            published: published.to_vec(),
            elements,
        };
        state.leases.insert(container_id.to_owned(), lease);
        Ok(())
    }

    /// The first running container knows the layout best: the file may be lost or changed.
    fn believe(
        &self,
        state: &mut State,
        prefix: Prefix,
        interface: &Interface,
    ) -> Result<(), NetworkError> {
        if !state.leases.is_empty() {
            return Ok(());
        }
        let gateway: Ipv4Addr = interface
            .gateway
            .as_deref()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| NetworkError::InvalidInterface(interface.address.clone()))?;
        let layout = around(Prefix {
            address: IpAddr::V4(gateway),
            length: prefix.length,
        })
        .ok_or_else(|| NetworkError::InvalidInterface(interface.address.clone()))?;
        state.set_layout(layout.with_ipv6(&self.config.tag, interface.gateway6.is_some()));
        Ok(())
    }

    /// Makes the host agree with the containers that are `live`: leases of others end, devices and published ports of
    /// nobody go, missing ports and rules come back. Without a live container everything goes.
    ///
    /// Called once at the start, after every [`Network::restore`] and before any [`Network::connect`]; harmless later.
    /// Returns a sentence for each repair.
    pub fn reconcile(&self, live: &[String]) -> Result<Vec<String>, NetworkError> {
        let mut repaired = Vec::new();
        let gone: Vec<String> = {
            let state = self.state();
            let ids = state.leases.keys();
            ids.filter(|id| !live.contains(id)).cloned().collect()
        };
        for id in gone {
            self.disconnect(&id)?;
            let short = id.get(..12).unwrap_or(&id);
            repaired.push(format!("network of stopped container {short} was released"));
        }
        let mut state = self.state();
        let keep: HashSet<String> = live.iter().map(|id| self.names.veth(id)).collect();
        for name in self.delete_veths(&keep)? {
            repaired.push(format!("network device {name} of no container was removed"));
        }
        if state.leases.is_empty() {
            if self.remove_shared(&mut state)? {
                repaired.push(format!(
                    "bridge {} of no container was removed",
                    self.names.bridge
                ));
            }
            return Ok(repaired);
        }
        self.ensure(&mut state)?;
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
        self.delete_veths(&HashSet::new())?;
        self.remove_shared(&mut state)?;
        Ok(())
    }

    /// Deletes host ends of veth pairs except these; returns their names.
    fn delete_veths(&self, keep: &HashSet<String>) -> Result<Vec<String>, NetworkError> {
        let mut deleted = Vec::new();
        let all = links().map_err(NetworkError::device("list network devices"))?;
        let bridge = all.iter().find(|link| link.name == self.names.bridge);
        let bridge = bridge.map(|link| link.index);
        for link in all {
            let ours = link.kind == "veth"
                && link.name.starts_with(&self.names.veth_prefix)
                // The tag is cut short in names; a port of another bridge is another engine's.
                && (link.master.is_none() || link.master == bridge)
                && link.name.len() == self.names.veth("00000000").len();
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

    /// Bridge, tables and accepting rules. Returns whether there was any of it.
    fn remove_shared(&self, state: &mut State) -> Result<bool, NetworkError> {
        state.seen = false;
        let name = &self.names.bridge;
        let mut found = self.firewall()?.remove()?;
        for family in [Family::Ip, Family::Ip6] {
            found |= self.accept()?.remove(family)?;
        }
        let failed = |verb: &str| NetworkError::device(format!("{verb} bridge {name}"));
        if link_exists(name).map_err(failed("look up"))? {
            found |= link_delete(name).map_err(failed("delete"))?;
        }
        Ok(found)
    }
}

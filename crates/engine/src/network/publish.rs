//! Host ports that lead to a container: bound, put into the firewall's maps, and carried from one network to another.
//!
//! A port belongs to the lease of one network at a time, the way out. The maps of the firewall are for IPv4; on IPv6 the shim
//! passes on what comes.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use shim_protocol::spec::PublishedPort;
use sys::nftables::NftablesError;

use super::firewall::Element;
use super::ports::PortRequest;
use super::state::{Key, Lease, State};
use super::{Network, NetworkError};

impl Network {
    /// Steps 3 and 4; the lease knows the ports afterwards.
    pub(super) fn publish(
        &self,
        state: &mut State,
        key: &Key,
        requests: &[PortRequest],
    ) -> Result<Vec<OwnedFd>, NetworkError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let address = state.leases[key].address;
        let reserved = state.ports.reserve(&key.0, address, requests)?;
        let published = elements(&reserved.published).and_then(|elements| {
            if !elements.is_empty() {
                self.firewall()?.publish(&elements)?;
            }
            Ok(elements)
        });
        let elements = match published {
            Ok(elements) => elements,
            Err(error) => {
                state.ports.release(&key.0);
                return Err(error);
            }
        };
        if let Some(lease) = state.leases.get_mut(key) {
            lease.published = reserved.published;
            lease.elements = elements;
            self.forget_flows(lease)?;
        }
        Ok(reserved.sockets)
    }

    /// Makes a running container's ports lead to it through `network`, or through none: those that it has are kept, with
    /// their numbers; `requests` are for when it has none yet. Whoever holds the sockets learns of it from the result.
    ///
    /// # Errors
    /// As [`Network::connect`]; the ports are then as they were.
    pub fn carry_ports(
        &self,
        container: &str,
        network: Option<&str>,
        requests: &[PortRequest],
    ) -> Result<Vec<PublishedPort>, NetworkError> {
        let mut state = self.state();
        let target = network.map(|network| (container.to_owned(), network.to_owned()));
        let target = target.filter(|key| {
            state.leases.contains_key(key)
                && !state
                    .segments
                    .get(&key.1)
                    .is_some_and(|segment| segment.plan.internal)
        });
        let carrier = state
            .keys_of(container)
            .into_iter()
            .find(|key| !state.leases[key].published.is_empty());
        let Some(target) = target else {
            if let Some(carrier) = carrier {
                self.unpublish(&mut state, &carrier)?;
                state.ports.release(container);
            }
            return Ok(Vec::new());
        };
        let Some(carrier) = carrier else {
            let host_binding = state
                .segments
                .get(&target.1)
                .and_then(|segment| segment.plan.host_binding.clone());
            let requests = with_host(requests, host_binding.as_deref());
            // The shim binds them again by itself.
            drop(self.publish(&mut state, &target, &requests)?);
            return Ok(state.leases[&target].published.clone());
        };
        if carrier == target {
            return Ok(state.leases[&target].published.clone());
        }
        let address = state.leases[&target].address.to_string();
        let mut published = state.leases[&carrier].published.clone();
        for port in &mut published {
            port.container_ip.clone_from(&address);
        }
        let new = elements(&published)?;
        self.unpublish(&mut state, &carrier)?;
        self.firewall()?.publish(&new)?;
        if let Some(lease) = state.leases.get_mut(&target) {
            lease.published.clone_from(&published);
            lease.elements = new;
            self.forget_flows(lease)?;
        }
        Ok(published)
    }

    /// The lease has no ports any more; who holds them is not touched.
    fn unpublish(&self, state: &mut State, key: &Key) -> Result<(), NetworkError> {
        let Some(lease) = state.leases.get_mut(key) else {
            return Ok(());
        };
        if !lease.elements.is_empty() {
            self.firewall()?.unpublish(lease.address)?;
        }
        let old = lease.clone();
        lease.published.clear();
        lease.elements.clear();
        Ok(self.forget_flows(&old)?)
    }

    /// Only a nuisance when it fails: senders that keep their port wait half a minute.
    pub(super) fn forget_flows(&self, lease: &Lease) -> Result<(), NftablesError> {
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
}

/// The requests, those without a host address on `host`.
pub(super) fn with_host(requests: &[PortRequest], host: Option<&str>) -> Vec<PortRequest> {
    let mut requests = requests.to_vec();
    for request in &mut requests {
        if request.host_ip.is_none() {
            request.host_ip = host.map(str::to_owned);
        }
    }
    requests
}

/// The elements of what is published on IPv4.
pub(super) fn elements(published: &[PublishedPort]) -> Result<Vec<Element>, NetworkError> {
    published
        .iter()
        .filter_map(|port| Element::of(port).transpose())
        .collect()
}

//! `network connect` and `network disconnect`.
//!
//! A container that does not run is only told where it is to be. For one that runs the record is the journal:
//! 1. an address is taken, or nothing is
//! 2. the record says what the container's networks are now
//! 3. the shim makes interfaces, routes and ports agree with it; neighbours learn the names
//!
//! A failure of 3 writes the old record again. After a crash between 2 and 3 the next engine repeats 3, which changes
//! nothing when it is done.

use std::sync::{Arc, PoisonError};

use shim_protocol::Request;
use shim_protocol::spec::Network as NetworkSpec;
use store::ContainerRow;

use super::super::create::to_json;
use super::super::find::Columns as _;
use super::super::start::port_requests;
use super::super::{ContainerError, Containers, NetworkSettings};
use super::choose::{SHARED, check, together};
use super::join::{given, way_out};
use super::{Endpoint, EndpointRequest};
use crate::network::NetworkError;
use crate::network::named::Found;

impl Containers {
    /// Connects a container to one more network.
    ///
    /// # Errors
    /// Docker's, among them that the container is on it already.
    pub fn connect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        request: EndpointRequest,
    ) -> Result<(), ContainerError> {
        let id = self.find(container)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        let mut settings = row.network()?;
        if settings.mode.starts_with("container:") {
            return Err(ContainerError::Invalid(SHARED.to_owned()));
        }
        let found = self.networks.find(network)?;
        if found.name == "host" && settings.mode != "host" {
            return Err(ContainerError::Invalid(
                "cannot connect container to host network - container must be created in host network mode".to_owned(),
            ));
        }
        let active = row.status()?.is_active();
        if let Some(at) = settings
            .endpoints
            .iter()
            .position(|endpoint| endpoint.network == found.id)
        {
            if active {
                return Err(NetworkError::Refused(format!(
                    "endpoint with name {} already exists in network {}",
                    row.name, found.name
                ))
                .into());
            }
            // The later wish counts.
            settings.endpoints.remove(at);
        }
        check(&found, &request).map_err(ContainerError::Invalid)?;
        let mut with = self.with_networks(settings.endpoints.clone())?;
        together(&with, &found)?;
        let endpoint = Endpoint {
            network: found.id.clone(),
            name: found.name.clone(),
            request,
            ..Endpoint::default()
        };
        let new = if active {
            let device = free_device(&settings);
            let wish = self.wish(&row, &endpoint, &device, false);
            given(&endpoint, self.network.connect(&id, &wish)?).0
        } else {
            endpoint
        };
        with.push((found.clone(), new));
        let changed = self.change_networks(&row, with, active);
        if changed.is_err() && active {
            self.release(&id, &found);
        }
        changed?;
        self.networks
            .publish(&found.id, &found.name, &found.driver, "connect", &id);
        Ok(())
    }

    /// Disconnects a container from a network. With `force` it is no error that the container is gone.
    ///
    /// # Errors
    /// Docker's.
    pub fn disconnect(
        self: &Arc<Self>,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), ContainerError> {
        let found = self.networks.find(network);
        let id = match self.find(container) {
            Ok(row) => row.id,
            Err(ContainerError::NoSuch(name)) if force => {
                found?;
                return Err(NetworkError::NotFound(format!("endpoint {name}")).into());
            }
            Err(error) => return Err(error),
        };
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        let active = row.status()?.is_active();
        let settings = row.network()?;
        // A network that is gone may still be left by who was to be on it.
        let found = match found {
            Ok(found) => found,
            Err(NetworkError::NotFound(_)) if !active => {
                return self.leave_gone(&row, settings, network);
            }
            Err(error) => return Err(error.into()),
        };
        if found.name == "host" || settings.mode == "host" {
            return Err(ContainerError::Invalid(
                "container cannot be disconnected from host network or connected to host network"
                    .to_owned(),
            ));
        }
        let on = settings.endpoints.iter().any(|one| one.network == found.id);
        if !on {
            return Err(ContainerError::NotConnected {
                container: id,
                network: found.name,
            });
        }
        let rest = (settings.endpoints.iter())
            .filter(|endpoint| endpoint.network != found.id)
            .cloned()
            .collect();
        let rest = self.with_networks(rest)?;
        self.change_networks(&row, rest, active)?;
        if active {
            self.release(&id, &found);
        }
        self.networks
            .publish(&found.id, &found.name, &found.driver, "disconnect", &id);
        Ok(())
    }

    fn leave_gone(
        &self,
        row: &ContainerRow,
        mut settings: NetworkSettings,
        network: &str,
    ) -> Result<(), ContainerError> {
        let before = settings.endpoints.len();
        settings
            .endpoints
            .retain(|one| one.name != network && one.network != network);
        if settings.endpoints.len() == before {
            return Err(NetworkError::NotFound(network.to_owned()).into());
        }
        self.record_network(row, &settings)?;
        Ok(())
    }

    /// The address is free again, and nobody finds the container there.
    fn release(&self, id: &str, network: &Found) {
        let names = self.paths.container_names(&network.id, id);
        if let Err(error) = sys::durable::remove_file(&names) {
            tracing::warn!(container = id, %error, "names of a container stay");
        }
        if let Err(error) = self.network.disconnect(id, &network.id) {
            tracing::warn!(container = id, network = network.name, %error, "a place on a network could not be given back");
        }
    }

    /// Steps 2 and 3: the container is on these networks from now on.
    fn change_networks(
        self: &Arc<Self>,
        row: &ContainerRow,
        mut endpoints: Vec<(Found, Endpoint)>,
        active: bool,
    ) -> Result<(), ContainerError> {
        let old = row.network()?;
        let (config, host) = (row.config()?, row.host_config()?);
        let mut settings = NetworkSettings {
            mode: old.mode.clone(),
            ..NetworkSettings::default()
        };
        endpoints = {
            let list = endpoints.into_iter().map(|(_, endpoint)| endpoint);
            self.with_networks(list.collect())?
        };
        if active {
            self.lead_out(row, &mut endpoints, &port_requests(&config, &host)?)?;
        }
        settings.endpoints = endpoints.into_iter().map(|(_, one)| one).collect();
        if active {
            settings.show_ports(&config);
        }
        let row = self.record_network(row, &settings)?;
        if !active {
            return Ok(());
        }
        sys::fault::step("network-change:recorded");
        if let Err(error) = self.tell_network(&row) {
            self.record_network(&row, &old)?;
            // The ports lead where they did.
            let carrier = old.endpoints.iter().find(|one| !one.published.is_empty());
            let carrier = carrier.map(|one| one.network.as_str());
            if let Err(error) = self.network.carry_ports(&row.id, carrier, &[]) {
                tracing::warn!(container = row.id, %error, "published ports could not be led back");
            }
            return Err(error);
        }
        sys::fault::step("network-change:told");
        self.refresh_hosts();
        Ok(())
    }

    /// Which interface has the default routes, and which the published ports.
    fn lead_out(
        &self,
        row: &ContainerRow,
        endpoints: &mut [(Found, Endpoint)],
        requests: &[crate::network::PortRequest],
    ) -> Result<(), ContainerError> {
        let way = way_out(endpoints);
        let through = way.map(|at| endpoints[at].1.network.clone());
        let published = self
            .network
            .carry_ports(&row.id, through.as_deref(), requests)?;
        for (number, (_, endpoint)) in endpoints.iter_mut().enumerate() {
            let leads = way == Some(number);
            endpoint.published = if leads { published.clone() } else { Vec::new() };
            let route = |gateway: &str| (leads && !gateway.is_empty()).then(|| gateway.to_owned());
            if let Some(interface) = &mut endpoint.interface {
                interface.gateway = route(&endpoint.gateway);
                interface.gateway6 = route(&endpoint.gateway6);
            }
        }
        Ok(())
    }

    fn record_network(
        &self,
        row: &ContainerRow,
        settings: &NetworkSettings,
    ) -> Result<ContainerRow, ContainerError> {
        self.change_state(&row.id, |row| row.network = Some(to_json(settings)))
    }

    /// Step 3, also for a container that an engine finds running: it may have died before.
    pub(crate) fn tell_network(&self, row: &ContainerRow) -> Result<(), ContainerError> {
        let (config, host) = (row.config()?, row.host_config()?);
        let settings = row.network()?;
        if settings.mode.starts_with("container:") || settings.mode == "host" {
            return Ok(());
        }
        let resolving = self.write_files(row, &config, &host, &settings)?;
        let interfaces = settings
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.interface.clone());
        let mut interfaces: Vec<_> = interfaces.collect();
        let first = (!interfaces.is_empty()).then(|| interfaces.remove(0));
        let ports = settings.endpoints.iter();
        let network = NetworkSpec {
            interface: first,
            more: interfaces,
            resolver: self.resolver(&settings, resolving)?,
            ports: ports.flat_map(|one| one.published.clone()).collect(),
        };
        match self.ask(
            &row.id,
            &Request::Network {
                network: Box::new(network),
            },
        ) {
            Ok(_) => {}
            // It ended meanwhile, which the next look records.
            Err(ContainerError::NotRunning(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.write_names(row, &config, &settings)
    }

    /// A container that was found running has the network that its record tells of.
    pub(crate) fn repeat_network(&self, row: &ContainerRow) {
        let named = row
            .network()
            .is_ok_and(|settings| settings.named().next().is_some());
        let several = row
            .network()
            .is_ok_and(|settings| settings.endpoints.len() != 1);
        if !named && !several {
            return;
        }
        if let Err(error) = self.tell_network(row) {
            tracing::warn!(container = row.id, %error, "networks of a running container could not be put right");
        }
    }
}

/// The first `ethN` that no interface has.
fn free_device(settings: &NetworkSettings) -> String {
    let taken: Vec<&str> = settings
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.interface.as_ref())
        .map(|interface| interface.name.as_str())
        .collect();
    (0..)
        .map(|number| format!("eth{number}"))
        .find(|name| !taken.contains(&name.as_str()))
        .expect("numbers do not end")
}

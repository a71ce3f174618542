//! The container's network while it runs: changed on demand, and its names taken away at its end.
//!
//! Steps of a change, each undone when a later one fails: 1. new interfaces are made; 2. the resolver is opened; 3. new ports
//! are bound; 4. default routes follow; from here nothing is undone: 5. old interfaces and ports go.

use shim_protocol::StartError;
use shim_protocol::spec::{Interface, Network, NetworkNs};

use crate::dns::Dns;
use crate::supervise::Supervisor;

impl Supervisor {
    /// Makes the network agree with `wanted`, now and at each restart.
    pub(crate) fn change_network(&mut self, wanted: Network) -> Result<(), String> {
        let pid = self
            .running()
            .and_then(|main| self.processes.get(&main))
            .map(|process| process.pid);
        let own = self.spec.namespaces.network == NetworkNs::Private;
        let Some(pid) = pid.filter(|_| own) else {
            // It takes effect with the next start.
            self.ports
                .change(&self.epoll, &wanted.ports)
                .map_err(|error| error.to_string())?;
            self.spec.network = wanted;
            return Ok(());
        };
        let old = self.spec.network.clone();
        let (gone, new) = differences(&old, &wanted);
        let mut made: Vec<&Interface> = Vec::new();
        let result = self.extend(pid, &wanted, &new, &mut made);
        if let Err(error) = result {
            for interface in made {
                // What stays is found by the engine, by the name of the device.
                runtime::disconnect(interface).unwrap_or_default();
            }
            // As before, or as far as that is possible.
            self.ports
                .change(&self.epoll, &old.ports)
                .unwrap_or_default();
            runtime::reroute(old.interfaces(), pid).unwrap_or_default();
            if let (Some(dns), Some(config)) = (&mut self.dns, old.resolver) {
                dns.configure(config);
            }
            return Err(error.message);
        }
        for interface in gone {
            // What stays is found by the engine, by the name of the device.
            runtime::disconnect(interface).unwrap_or_default();
        }
        self.forget_names(|network| {
            wanted
                .resolver
                .as_ref()
                .is_none_or(|resolver| resolver.networks.iter().all(|one| one.id != network))
        });
        self.spec.network = wanted;
        Ok(())
    }

    fn extend<'a>(
        &mut self,
        pid: i32,
        wanted: &Network,
        new: &[&'a Interface],
        made: &mut Vec<&'a Interface>,
    ) -> Result<(), StartError> {
        for interface in new {
            // The route is set below, when nothing else can fail.
            let alone = Interface {
                gateway: None,
                gateway6: None,
                ..(*interface).clone()
            };
            runtime::connect(&alone, pid)?;
            made.push(interface);
        }
        match (&wanted.resolver, &mut self.dns) {
            (Some(config), Some(dns)) => dns.configure(config.clone()),
            (Some(_), None) => {
                let sockets = runtime::open_resolver(pid)?;
                self.open_dns(sockets, wanted, pid)?;
            }
            // It goes on answering nothing but what it is asked: nobody is told to ask elsewhere while he runs.
            (None, _) => {}
        }
        self.ports
            .change(&self.epoll, &wanted.ports)
            .map_err(|error| crate::supervise::broken("published ports", &error))?;
        runtime::reroute(wanted.interfaces(), pid)
    }

    /// Begins to answer the container's questions for names.
    pub(crate) fn open_dns(
        &mut self,
        sockets: runtime::ResolverSockets,
        network: &Network,
        pid: i32,
    ) -> Result<(), StartError> {
        let Some(config) = network.resolver.clone() else {
            return Ok(());
        };
        let dns = Dns::new(&self.epoll, sockets, config, pid, self.dns_number)
            .map_err(|error| crate::supervise::broken("network", &error))?;
        self.dns = Some(dns);
        Ok(())
    }

    /// The run is over, and with it the sockets in its namespace.
    pub(crate) fn close_dns(&mut self) {
        if let Some(dns) = self.dns.take() {
            self.dns_number = dns.last;
        }
    }

    /// Neighbours do not find the container any more on the networks that `which` names.
    pub(crate) fn forget_names(&self, which: impl Fn(&str) -> bool) {
        let Some(resolver) = &self.spec.network.resolver else {
            return;
        };
        for network in resolver.networks.iter().filter(|one| which(&one.id)) {
            let file = resolver.names.join(&network.id).join(&self.spec.id);
            // The engine may have done so already.
            sys::durable::remove_file(&file)
                .map(drop)
                .unwrap_or_default();
        }
    }
}

/// Interfaces that are to go, and those to be made. One that is the same but for its routes stays.
fn differences<'a>(
    old: &'a Network,
    wanted: &'a Network,
) -> (Vec<&'a Interface>, Vec<&'a Interface>) {
    let bare = |interface: &Interface| Interface {
        gateway: None,
        gateway6: None,
        ..interface.clone()
    };
    let lacks = |network: &Network, one: &Interface| {
        !network.interfaces().any(|other| bare(other) == bare(one))
    };
    let gone = old.interfaces().filter(|one| lacks(wanted, one)).collect();
    let new = wanted.interfaces().filter(|one| lacks(old, one)).collect();
    (gone, new)
}

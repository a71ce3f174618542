//! `create`: from a request to a network that containers can be on.
//!
//! Steps of the journaled operation:
//! 1. begin: the name is taken, row `creating`
//! 2. `bridge`: the device, its addresses, the firewall's rules; ‖ row `ready`
//!
//! Cut short before the end of 2 it is undone: no network, no device, the name free. A subnet that nobody asked for is chosen
//! before 1; when another engine takes it before 2 does, everything begins again with another one.

use std::net::IpAddr;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{NetworkRow, NetworkState, OpId, WriteTx};
use sys::netlink::{Prefix, link_exists};

use super::check::{self, Options};
use super::{Context, NetworkRequest, Networks, plan, shown_pools};
use crate::network::NetworkError;
use crate::network::segment::{Plan, own_prefix6};
use crate::network::subnet::{choose, taken};

/// How often a subnet may be taken between the choice and the bridge.
const ATTEMPTS: usize = 8;

impl Networks {
    /// Makes a network; its id.
    ///
    /// # Errors
    /// Among others [`NetworkError::NameExists`], [`NetworkError::Overlap`], [`NetworkError::Request`].
    pub fn create(&self, request: NetworkRequest) -> Result<String, NetworkError> {
        let options = check::request(&request)?;
        let _one = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows()?;
        if rows.iter().any(|row| row.name == request.name) {
            return Err(NetworkError::NameExists(request.name));
        }
        let chosen = request.pools().iter().all(|pool| pool.subnet.contains(':'));
        for _ in 1..ATTEMPTS {
            match self.create_once(&request, &options, &rows, chosen) {
                Err(NetworkError::SubnetTaken(_)) if chosen => {}
                result => return result,
            }
        }
        self.create_once(&request, &options, &rows, chosen)
    }

    fn create_once(
        &self,
        request: &NetworkRequest,
        options: &Options,
        rows: &[NetworkRow],
        chosen: bool,
    ) -> Result<String, NetworkError> {
        let id = store::ContainerId::random().to_string();
        let plan = self.give(&id, request, options, rows)?;
        let create = Create {
            id: id.clone(),
            name: request.name.clone(),
            created_at: jiff::Timestamp::now().to_string(),
            labels: request.labels.clone().filter(|labels| !labels.is_empty()),
            request: request.clone(),
            plan,
            chosen,
        };
        journal::execute(&self.store, &create, &self.context())?;
        self.publish(&id, &create.name, "bridge", "create", "");
        Ok(id)
    }

    /// Device and addresses, of which none is anybody else's.
    fn give(
        &self,
        id: &str,
        request: &NetworkRequest,
        options: &Options,
        rows: &[NetworkRow],
    ) -> Result<Plan, NetworkError> {
        let bridge = match &options.bridge {
            Some(name) => {
                let exists = link_exists(name)
                    .map_err(NetworkError::device(format!("look up bridge {name}")))?;
                if exists {
                    return Err(NetworkError::BridgeTaken(name.clone()));
                }
                name.clone()
            }
            None => format!("br-{}", &id[..12]),
        };
        let mut ours = vec![self.host.default_layout()?.subnet()];
        for row in rows {
            let plan = plan(row)?;
            ours.extend(
                shown_pools(None, &plan)
                    .iter()
                    .filter_map(|pool| pool.subnet.parse::<Prefix>().ok()),
            );
        }
        let ipv6 = request.enable_ipv6 == Some(true);
        let pools = request.pools();
        let of = |v6: bool| pools.iter().find(|pool| pool.subnet.contains(':') == v6);
        let free = |prefix: &Prefix| !ours.iter().any(|other| other.overlaps(prefix));
        let gateway = match of(false) {
            Some(pool) => {
                let subnet: Prefix = read(&pool.subnet)?;
                if !free(&subnet) {
                    return Err(NetworkError::Overlap);
                }
                with_gateway(subnet, &pool.gateway)
            }
            None => {
                let mut all = taken("")?;
                all.extend(&ours);
                choose(self.host.pools(), &all)?.bridge_address()
            }
        };
        let gateway6 = match of(true).filter(|_| ipv6) {
            Some(pool) => {
                let subnet: Prefix = read(&pool.subnet)?;
                if !free(&subnet) {
                    return Err(NetworkError::Overlap);
                }
                Some(with_gateway(subnet, &pool.gateway).to_string())
            }
            None => ipv6.then(|| own_prefix6(id)),
        };
        let range = of(false).map(|pool| pool.ip_range.clone());
        let reserved = pools
            .iter()
            .filter(|pool| ipv6 || !pool.subnet.contains(':'))
            .flat_map(|pool| pool.auxiliary.values().cloned())
            .collect();
        Ok(Plan {
            bridge,
            gateway: gateway.to_string(),
            gateway6,
            range: range.filter(|range| !range.is_empty()),
            reserved,
            internal: request.internal,
            isolated: options.isolated,
            masquerade: options.masquerade,
            host_binding: options.host_binding.clone(),
            mtu: options.mtu,
        })
    }
}

fn read(text: &str) -> Result<Prefix, NetworkError> {
    text.parse()
        .map_err(|_| NetworkError::InvalidSubnet(text.to_owned()))
}

/// The bridge's address: the one that was chosen, or the first of the subnet.
fn with_gateway(subnet: Prefix, chosen: &str) -> Prefix {
    let first = match subnet.network() {
        IpAddr::V4(network) => IpAddr::V4((network.to_bits() + 1).into()),
        IpAddr::V6(network) => IpAddr::V6((network.to_bits() + 1).into()),
    };
    Prefix {
        address: chosen.parse().unwrap_or(first),
        length: subnet.length,
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Create {
    id: String,
    name: String,
    created_at: String,
    labels: Option<std::collections::BTreeMap<String, String>>,
    request: NetworkRequest,
    plan: Plan,
    /// The subnet was chosen because it was free.
    chosen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Bridge,
}

impl Operation for Create {
    const KIND: &'static str = "network-create";
    const STEPS: &'static [(&'static str, Step)] = &[("bridge", Step::Bridge)];
    const COMMIT: Option<Step> = Some(Step::Bridge);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = NetworkError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        let mut others = tx.networks()?.into_iter();
        if others.any(|row| row.state != NetworkState::Removing && row.name == self.name) {
            return Err(NetworkError::NameExists(self.name.clone()));
        }
        Ok(tx.insert_network(&NetworkRow {
            id: self.id.clone(),
            name: self.name.clone(),
            driver: "bridge".to_owned(),
            created_at: self.created_at.clone(),
            state: NetworkState::Creating,
            labels: self.labels.clone(),
            request: serde_json::to_string(&self.request).expect("maps have string keys"),
            plan: serde_json::to_string(&self.plan).expect("maps have string keys"),
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), NetworkError> {
        context.host.raise(&self.id, &self.plan, self.chosen)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        Ok(tx.set_network_state(&self.id, NetworkState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), NetworkError> {
        context.host.lower(&self.id, &self.plan)
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        Ok(tx.delete_network(&self.id)?)
    }
}

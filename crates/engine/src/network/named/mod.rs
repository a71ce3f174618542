//! The networks that users make and name: what was asked for is in the store, what there is of it on the host is
//! [`Network`]'s.
//!
//! A network is named by id, by name, or by a unique beginning of its id, in this order. `bridge`, `host` and `none` are
//! part of every engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use store::journal::{self, Recovered};
use store::{NetworkRow, NetworkState, Paths, Store};

use super::segment::Plan;
use super::{ConnectedContainer, Network, NetworkError, predefined_id};
use crate::events::Events;

mod check;
mod create;
mod prune;
mod remove;

pub use create::Create;
pub use prune::Pruned;
pub use remove::Remove;

/// `POST /networks/create`, as far as it is acted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkRequest {
    pub name: String,
    /// Empty: `bridge`.
    pub driver: String,
    pub scope: String,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_only: bool,
    pub config_from: Option<ConfigFrom>,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigFrom {
    pub network: String,
}

/// Which addresses a network wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    pub driver: String,
    pub options: Option<BTreeMap<String, String>>,
    pub config: Option<Vec<Pool>>,
}

/// One subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pool {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    #[serde(
        rename = "AuxiliaryAddresses",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub auxiliary: BTreeMap<String, String>,
}

/// A network as users see it.
#[derive(Debug, Clone)]
pub struct NetworkInfo {
    pub id: String,
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    pub ipv6: bool,
    pub internal: bool,
    pub attachable: bool,
    pub ipam_driver: String,
    pub ipam_options: Option<BTreeMap<String, String>>,
    pub pools: Vec<Pool>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub containers: Vec<ConnectedContainer>,
    /// Part of every engine.
    pub predefined: bool,
}

/// A network that a container can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) driver: String,
    /// Its own subnet was chosen by the user: addresses may be.
    pub(crate) subnets: Vec<Pool>,
    pub(crate) internal: bool,
    pub(crate) ipv6: bool,
}

impl Found {
    /// One that a user made: containers know each other's names there.
    pub(crate) fn is_named(&self) -> bool {
        !is_predefined(&self.name)
    }
}

/// The names that no network of a user can have.
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none" | "default")
}

/// The networks of one engine.
#[derive(Debug)]
pub struct Networks {
    store: Arc<Store>,
    paths: Arc<Paths>,
    events: Events,
    host: Arc<Network>,
    /// Subnets are chosen one after the other.
    creating: Mutex<()>,
    pruning: Mutex<()>,
}

impl Networks {
    /// Finishes or undoes what was cut short, and makes the bridges of all networks. Sentences on what was repaired.
    ///
    /// # Errors
    /// When a record cannot be read. A bridge that cannot be made is a sentence; it is tried again when it is needed.
    pub(crate) fn open(
        store: Arc<Store>,
        paths: Arc<Paths>,
        events: Events,
        host: Arc<Network>,
    ) -> Result<(Self, Vec<String>), NetworkError> {
        let networks = Self {
            store,
            paths,
            events,
            host,
            creating: Mutex::default(),
            pruning: Mutex::default(),
        };
        let mut sentences = Vec::new();
        let context = networks.context();
        tell(
            "creation of",
            journal::recover::<Create>(&networks.store, &context)?,
            &mut sentences,
        );
        tell(
            "removal of",
            journal::recover::<Remove>(&networks.store, &context)?,
            &mut sentences,
        );
        for row in networks.rows()? {
            let plan = plan(&row)?;
            if let Err(error) = networks.host.raise(&row.id, &plan, false) {
                networks.host.know(&row.id, &plan)?;
                sentences.push(format!(
                    "network {} is not there for now: {error}",
                    row.name
                ));
            }
        }
        Ok((networks, sentences))
    }

    fn context(&self) -> Context<'_> {
        Context {
            host: &self.host,
            paths: &self.paths,
        }
    }

    /// Those that are ready.
    fn rows(&self) -> Result<Vec<NetworkRow>, NetworkError> {
        let mut rows = self.store.read(|tx| tx.networks())?;
        rows.retain(|row| row.state == NetworkState::Ready);
        Ok(rows)
    }

    /// All networks, those of every engine first.
    pub fn list(&self) -> Result<Vec<NetworkInfo>, NetworkError> {
        let mut all = vec![self.bridge()?, plain("host", "host"), plain("none", "null")];
        for row in self.rows()? {
            all.push(self.info(&row)?);
        }
        Ok(all)
    }

    /// # Errors
    /// [`NetworkError::NotFound`], [`NetworkError::Ambiguous`].
    pub fn inspect(&self, reference: &str) -> Result<NetworkInfo, NetworkError> {
        let id = self.find(reference)?.id;
        self.list()?
            .into_iter()
            .find(|network| network.id == id)
            .ok_or_else(|| NetworkError::NotFound(reference.to_owned()))
    }

    /// # Errors
    /// [`NetworkError::NotFound`], [`NetworkError::Ambiguous`].
    pub(crate) fn find(&self, reference: &str) -> Result<Found, NetworkError> {
        let mut all = Vec::new();
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            all.push(Found {
                id: predefined_id(name),
                name: name.to_owned(),
                driver: driver.to_owned(),
                subnets: Vec::new(),
                internal: false,
                ipv6: false,
            });
        }
        for row in self.rows()? {
            let request = request(&row)?;
            all.push(Found {
                subnets: request.pools(),
                internal: request.internal,
                ipv6: request.enable_ipv6 == Some(true),
                id: row.id,
                name: row.name,
                driver: row.driver,
            });
        }
        let exact = |one: &&Found| one.id == reference || one.name == reference;
        // An id goes before a name.
        let by_id = all.iter().find(|one| one.id == reference);
        if let Some(found) = by_id.or_else(|| all.iter().find(exact)) {
            return Ok(found.clone());
        }
        let begin: Vec<&Found> = all
            .iter()
            .filter(|one| !reference.is_empty() && one.id.starts_with(reference))
            .collect();
        match begin.as_slice() {
            [] => Err(NetworkError::NotFound(reference.to_owned())),
            [found] => Ok((*found).clone()),
            several => Err(NetworkError::Ambiguous {
                name: reference.to_owned(),
                count: several.len(),
            }),
        }
    }

    fn bridge(&self) -> Result<NetworkInfo, NetworkError> {
        let info = self.host.info()?;
        let pool = |subnet: &str, gateway: &str| Pool {
            subnet: subnet.to_owned(),
            gateway: gateway.to_owned(),
            ..Pool::default()
        };
        let mut pools = vec![pool(&info.subnet, &info.gateway)];
        if let (Some(subnet), Some(gateway)) = (&info.subnet6, &info.gateway6) {
            pools.push(pool(subnet, gateway));
        }
        let options = [
            ("com.docker.network.bridge.default_bridge", "true"),
            ("com.docker.network.bridge.enable_icc", "true"),
            ("com.docker.network.bridge.enable_ip_masquerade", "true"),
            ("com.docker.network.bridge.name", &info.bridge),
            ("com.docker.network.driver.mtu", &info.mtu.to_string()),
        ];
        Ok(NetworkInfo {
            ipv6: info.subnet6.is_some(),
            pools,
            options: options
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            containers: info.containers,
            ..plain("bridge", "bridge")
        })
    }

    fn info(&self, row: &NetworkRow) -> Result<NetworkInfo, NetworkError> {
        let request = request(row)?;
        let ipam = request.ipam.clone().unwrap_or_default();
        Ok(NetworkInfo {
            id: row.id.clone(),
            name: row.name.clone(),
            created: row.created_at.clone(),
            driver: row.driver.clone(),
            ipv6: request.enable_ipv6 == Some(true),
            internal: request.internal,
            attachable: request.attachable,
            ipam_driver: if ipam.driver.is_empty() {
                "default".to_owned()
            } else {
                ipam.driver
            },
            ipam_options: ipam.options,
            pools: shown_pools(request.ipam.as_ref(), &plan(row)?),
            options: request.options.unwrap_or_default(),
            labels: row.labels.clone().unwrap_or_default(),
            containers: self.host.connected(&row.id),
            predefined: false,
        })
    }

    /// A network event with Docker's attributes.
    pub(crate) fn publish(
        &self,
        id: &str,
        name: &str,
        driver: &str,
        action: &str,
        container: &str,
    ) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), name.to_owned()),
            ("type".to_owned(), driver.to_owned()),
        ]);
        if !container.is_empty() {
            attributes.insert("container".to_owned(), container.to_owned());
        }
        self.events.publish("network", action, id, attributes);
    }
}

impl NetworkRequest {
    /// The subnets that were asked for.
    fn pools(&self) -> Vec<Pool> {
        let ipam = self.ipam.clone().unwrap_or_default();
        ipam.config.unwrap_or_default()
    }
}

/// What the steps of operations work with.
#[derive(Debug)]
pub struct Context<'a> {
    host: &'a Network,
    paths: &'a Paths,
}

fn request(row: &NetworkRow) -> Result<NetworkRequest, NetworkError> {
    serde_json::from_str(&row.request).map_err(|_| NetworkError::Unreadable {
        id: row.id.clone(),
        column: "request",
    })
}

fn plan(row: &NetworkRow) -> Result<Plan, NetworkError> {
    serde_json::from_str(&row.plan).map_err(|_| NetworkError::Unreadable {
        id: row.id.clone(),
        column: "plan",
    })
}

/// What was asked for, completed by what was given.
fn shown_pools(ipam: Option<&Ipam>, plan: &Plan) -> Vec<Pool> {
    let mut pools: Vec<Pool> = ipam
        .and_then(|ipam| ipam.config.clone())
        .unwrap_or_default();
    for given in [Some(&plan.gateway), plan.gateway6.as_ref()]
        .into_iter()
        .flatten()
    {
        let Ok(prefix) = given.parse::<sys::netlink::Prefix>() else {
            continue;
        };
        let subnet = format!("{}/{}", prefix.network(), prefix.length);
        let gateway = prefix.address.to_string();
        let same_family = |pool: &&mut Pool| pool.subnet.contains(':') == gateway.contains(':');
        match pools.iter_mut().find(same_family) {
            Some(pool) if pool.gateway.is_empty() => pool.gateway = gateway,
            Some(_) => {}
            None => pools.push(Pool {
                subnet,
                gateway,
                ..Pool::default()
            }),
        }
    }
    pools
}

/// What `host` and `none` show.
fn plain(name: &str, driver: &str) -> NetworkInfo {
    NetworkInfo {
        id: predefined_id(name),
        name: name.to_owned(),
        created: "0001-01-01T00:00:00Z".to_owned(),
        driver: driver.to_owned(),
        ipv6: false,
        internal: false,
        attachable: false,
        ipam_driver: "default".to_owned(),
        ipam_options: None,
        pools: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        containers: Vec::new(),
        predefined: true,
    }
}

fn tell(what: &str, outcomes: Vec<Recovered<NetworkError>>, sentences: &mut Vec<String>) {
    for outcome in outcomes {
        sentences.push(match outcome {
            Recovered::Undone { object } => {
                format!("unfinished {what} network {object} was undone")
            }
            Recovered::Completed { object } => format!("{what} network {object} was finished"),
            Recovered::Stuck { object, error, .. } => {
                format!("{what} network {object} is stuck: {error}")
            }
        });
    }
}

//! A container's networks: which it is to be on, what it has on each of them while it runs, and what changes meanwhile.
//!
//! * [`choose`] - from a request to the list that is kept with the container.
//! * [`join`] - addresses, ports and interfaces of a start, and giving them back.
//! * [`change`] - `network connect` and `network disconnect`.
//! * [`names`] - what neighbours call it, and whom it asks.

use serde::{Deserialize, Serialize};
use shim_protocol::spec::{Interface, PublishedPort};

mod change;
mod choose;
mod join;
mod names;

pub use choose::{EndpointIpam, EndpointRequest};

/// One network of a container: the wish, and while it runs what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Id of the network.
    pub network: String,
    /// Its name when the container was connected.
    pub name: String,
    pub request: EndpointRequest,
    /// 64 hex digits; empty while the container does not run, as all that follows.
    pub id: String,
    pub ip: String,
    pub prefix_len: u8,
    pub gateway: String,
    pub mac: String,
    pub ip6: String,
    pub prefix_len6: u8,
    pub gateway6: String,
    pub interface: Option<Interface>,
    /// Host ports that lead here.
    pub published: Vec<PublishedPort>,
}

impl Endpoint {
    /// The wish alone.
    pub(crate) fn at_rest(&self) -> Self {
        Self {
            network: self.network.clone(),
            name: self.name.clone(),
            request: self.request.clone(),
            ..Self::default()
        }
    }
}

//! What `network inspect` shows of the host's side.

use sys::netlink::link_info;

use super::bridge::with_length;
use super::layout::{Layout, write};
use super::subnet::lock;
use super::{Network, NetworkError, predefined_id};

/// What an interface has when its bridge cannot be asked.
const USUAL_MTU: u32 = 1500;

/// The default bridge as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Name of the device.
    pub bridge: String,
    /// `172.17.0.0/16`
    pub subnet: String,
    pub gateway: String,
    pub subnet6: Option<String>,
    pub gateway6: Option<String>,
    pub mtu: u32,
    pub containers: Vec<ConnectedContainer>,
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedContainer {
    pub id: String,
    pub name: String,
    pub endpoint: String,
    pub mac: String,
    /// `172.17.0.2/16`
    pub address: String,
    pub address6: Option<String>,
}

impl Network {
    /// The default bridge's addresses and who is on it. Before the first container connects, a subnet is chosen and
    /// remembered, but nothing is made on the host.
    pub fn info(&self) -> Result<BridgeInfo, NetworkError> {
        let layout = self.default_layout()?;
        Ok(BridgeInfo {
            bridge: self.names.bridge.clone(),
            subnet: layout.subnet().to_string(),
            gateway: layout.gateway.to_string(),
            subnet6: layout.subnet6().map(|prefix| prefix.to_string()),
            gateway6: layout.gateway6.map(|address| address.to_string()),
            mtu: self.mtu_of(&self.names.bridge),
            containers: self.connected(&predefined_id("bridge")),
        })
    }

    pub(super) fn default_layout(&self) -> Result<Layout, NetworkError> {
        let mut state = self.state();
        if let Some(layout) = state.layout {
            return Ok(layout);
        }
        let _held = lock()?;
        let layout = self.plan(None, false)?;
        write(&self.config.state_file, &layout)?;
        state.set_layout(layout);
        Ok(layout)
    }

    /// Who is on a network, by its id.
    pub fn connected(&self, network: &str) -> Vec<ConnectedContainer> {
        let state = self.state();
        let segment = state.segments.get(network).map(|segment| segment.layout);
        let Some(layout) = segment.or(state.layout) else {
            return Vec::new();
        };
        let on = state
            .leases
            .values()
            .filter(|lease| lease.network == network);
        on.map(|lease| ConnectedContainer {
            id: lease.container.clone(),
            name: lease.name.clone(),
            endpoint: lease.endpoint.clone(),
            mac: lease.mac.clone(),
            address: with_length(lease.address, layout.length),
            address6: lease
                .address6
                .map(|address| format!("{address}/{}", layout.length6)),
        })
        .collect()
    }

    /// A bridge's MTU, else what it would get.
    pub(super) fn mtu_of(&self, bridge: &str) -> u32 {
        match link_info(bridge) {
            Ok(Some(link)) => link.mtu,
            Ok(None) => self.mtu().unwrap_or(USUAL_MTU),
            Err(error) => {
                tracing::debug!(%error, "mtu of a bridge");
                USUAL_MTU
            }
        }
    }
}

//! What `network inspect` shows.

use sys::netlink::link_info;

use super::bridge::with_length;
use super::ipam::mac_text;
use super::layout::{LENGTH6, write};
use super::subnet::lock;
use super::{Network, NetworkError};

/// What an interface has when its bridge cannot be asked.
const USUAL_MTU: u32 = 1500;

/// The network as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Name of the device.
    pub bridge: String,
    /// `172.17.0.0/16`
    pub subnet: String,
    pub gateway: String,
    pub subnet6: Option<String>,
    pub gateway6: Option<String>,
    pub mtu: u32,
    /// By id.
    pub containers: Vec<ConnectedContainer>,
}

/// A container on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedContainer {
    pub id: String,
    pub mac: String,
    /// `172.17.0.2/16`
    pub address: String,
    pub address6: Option<String>,
}

impl Network {
    /// The network's addresses and who is on it. Before the first container connects, a subnet is chosen and
    /// remembered, but nothing is made on the host.
    pub fn info(&self) -> Result<NetworkInfo, NetworkError> {
        let mut state = self.state();
        let layout = match state.layout {
            Some(layout) => layout,
            None => {
                let _held = lock()?;
                let layout = self.plan(None, false)?;
                write(&self.config.state_file, &layout)?;
                state.set_layout(layout);
                layout
            }
        };
        let containers = state.leases.iter().map(|(id, lease)| ConnectedContainer {
            id: id.clone(),
            mac: mac_text(lease.address),
            address: with_length(lease.address, layout.length),
            address6: lease.address6.map(|address| format!("{address}/{LENGTH6}")),
        });
        Ok(NetworkInfo {
            bridge: self.names.bridge.clone(),
            subnet: layout.subnet().to_string(),
            gateway: layout.gateway.to_string(),
            subnet6: layout.subnet6().map(|prefix| prefix.to_string()),
            gateway6: layout.gateway6.map(|address| address.to_string()),
            mtu: self.bridge_mtu(),
            containers: containers.collect(),
        })
    }

    /// The bridge's MTU, else what it would get.
    pub(super) fn bridge_mtu(&self) -> u32 {
        match link_info(&self.names.bridge) {
            Ok(Some(link)) => link.mtu,
            Ok(None) => self.mtu().unwrap_or(USUAL_MTU),
            Err(error) => {
                tracing::debug!(%error, "mtu of the bridge");
                USUAL_MTU
            }
        }
    }
}

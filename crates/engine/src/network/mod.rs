//! The default bridge: addresses, published ports, names, and their removal.
//!
//! [`Network`] belongs to one engine. [`Network::connect`] prepares everything that a container needs before it starts:
//! the bridge, the firewall, an address, the host ports. The container's shim then makes the veth pair itself, from the
//! [`shim_protocol::spec::Interface`] it is given, also when it restarts the container while no engine is there.
//!
//! What it guarantees:
//!
//! * Everything it makes carries the tag of the engine's root in its name or comment: the bridge, host ends of veth
//!   pairs (`ov` + tag + id), firewall tables `orlop-<tag>`, rules in foreign chains. Engines of different roots do not
//!   meet. What a killed engine left is found by those names and put right by [`Network::reconcile`].
//! * All operations may be repeated. Leases live in memory; at the start of an engine [`Network::restore`] takes back
//!   those of running containers. The subnet is remembered in a file, so that it does not change between starts.
//! * After [`Network::shutdown`] nothing is left on the host but two settings: `ip_forward` stays on, and so does IPv6
//!   forwarding where it was needed.
//!
//! How a packet to a published port finds its container:
//!
//! * IPv4 from anywhere: a map in the firewall changes the destination. Connections from the host itself, from the
//!   container itself and from its neighbours get a source that the answer comes back to. A port published on one
//!   address is looked up with that address; ports on 127.0.0.0/8 are only open to the host.
//! * IPv6: the sockets that hold the reservation are handed to the shim, which accepts there and passes on. They also
//!   serve whatever a foreign firewall keeps the map from seeing.
//!
//! A container is reached from outside only through published ports: routed packets to its address are dropped unless
//! they belong to a connection that it opened. IPv6 is on when the host has a default route for it: containers get
//! addresses from a prefix derived from the tag, translated on the way out.

mod bridge;
mod connect;
mod error;
mod firewall;
mod forward;
mod hosts;
mod inspect;
mod ipam;
mod layout;
mod ports;
mod recover;
mod resolv;
mod subnet;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use sys::nftables::Netfilter;

pub use connect::Connected;
pub use error::NetworkError;
pub use hosts::{HostsInput, hosts};
pub use inspect::{ConnectedContainer, NetworkInfo};
pub use ports::PortRequest;
pub use resolv::{ResolvInput, resolv_conf};

use connect::State;

/// What a network is told at its start.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Tag of the engine's root, hexadecimal.
    pub tag: String,
    /// The default root's bridge is called `orlop0`.
    pub default_root: bool,
    /// Where the chosen subnet is remembered.
    pub state_file: PathBuf,
    /// The bridge's address and prefix (`172.30.0.1/16`; a network address means its first host), instead of a free
    /// one. Takes effect when no container is connected.
    pub subnet: Option<String>,
    /// Instead of the default route's.
    pub mtu: Option<u32>,
}

/// The default bridge network of one engine.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    names: Names,
    state: Mutex<State>,
    netfilter: OnceLock<Netfilter>,
}

/// Names of what this network makes on the host.
#[derive(Debug, Clone)]
struct Names {
    bridge: String,
    /// Of the firewall tables, and in comments of rules in foreign chains.
    table: String,
    /// Of host ends of veth pairs.
    veth_prefix: String,
}

impl Names {
    fn new(config: &NetworkConfig) -> Self {
        let part = |length: usize| config.tag.get(..length).unwrap_or(&config.tag);
        Self {
            bridge: if config.default_root {
                "orlop0".to_owned()
            } else {
                format!("orl-{}", part(8))
            },
            table: format!("orlop-{}", config.tag),
            veth_prefix: format!("ov{}", part(4)),
        }
    }

    /// The host end of a container's veth pair: 14 bytes, one less than the kernel allows.
    fn veth(&self, container: &str) -> String {
        let short = container.get(..8).unwrap_or(container);
        format!("{}{short}", self.veth_prefix)
    }
}

impl Network {
    /// Reads what was remembered. Nothing is made on the host before a container connects.
    ///
    /// # Errors
    /// [`NetworkError::InvalidSubnet`] for a configured subnet that cannot be one; [`NetworkError::Remembered`] when
    /// the file of an earlier engine is unreadable.
    pub fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        if let Some(text) = &config.subnet {
            layout::from_config(text)?;
        }
        let remembered = layout::read(&config.state_file)?;
        Ok(Self {
            names: Names::new(&config),
            state: Mutex::new(State::new(remembered)),
            config,
            netfilter: OnceLock::new(),
        })
    }

    /// A panic elsewhere leaves the state whole: every change is finished before anything can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

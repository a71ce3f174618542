//! Networks: bridges, addresses, published ports, names, and their removal.
//!
//! [`Networks`] knows which networks users made, in the store; [`Network`] is what there is of them, and of the default
//! bridge, on the host. Both belong to one engine. [`Network::connect`] prepares everything that a container needs before it starts:
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
pub mod named;
mod ports;
mod publish;
mod recover;
mod resolv;
mod segment;
mod state;
mod subnet;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};
use sys::nftables::Netfilter;

pub use connect::{Connected, Wish};
pub use error::NetworkError;
pub use hosts::{HostsInput, hosts};
pub use inspect::{BridgeInfo, ConnectedContainer};
pub use named::Networks;
pub use ports::PortRequest;
pub use recover::Held;
pub use resolv::{ResolvInput, Resolving, resolv_conf};

use state::State;

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
    /// From where networks without a subnet of their own get one, instead of Docker's ranges.
    pub pools: Vec<AddressPool>,
}

/// A range of addresses that is cut into subnets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// `10.10.0.0/16`
    pub base: String,
    /// Prefix length of each subnet.
    pub size: u8,
}

/// The id of `bridge`, `host` or `none`: the same everywhere, for these networks are part of every engine.
pub fn predefined_id(name: &str) -> String {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let mut text = String::new();
    for round in 0..4_u8 {
        for byte in name.bytes().chain([round]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        text.push_str(&format!("{state:016x}"));
    }
    text
}

/// The networks of one engine, on the host.
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

    /// The host end of a container's veth pair on a network: 14 bytes, one less than the kernel allows.
    fn veth(&self, container: &str, network: &str) -> String {
        let digest = Sha256::digest(format!("{container}{network}").as_bytes());
        let short: String = digest[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
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
        subnet::check_pools(&config.pools)?;
        let remembered = layout::read(&config.state_file)?;
        Ok(Self {
            names: Names::new(&config),
            state: Mutex::new(State::new(remembered)),
            config,
            netfilter: OnceLock::new(),
        })
    }

    /// From where subnets come.
    fn pools(&self) -> &[AddressPool] {
        &self.config.pools
    }

    /// A panic elsewhere leaves the state whole: every change is finished before anything can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

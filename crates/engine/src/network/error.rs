//! Why the network could not do what it was asked.

use std::io;
use std::path::PathBuf;

use sys::nftables::NftablesError;

use crate::error::{ErrorKind, Fault};

/// An error of a network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("Bind for {host} failed: port is already allocated")]
    PortAllocated { host: String },
    #[error("Bind for {host} failed: all ports are allocated")]
    RangeAllocated { host: String },
    #[error("failed to bind host port for {host}: {reason}")]
    Bind {
        host: String,
        /// The errno in the words that Docker's users know.
        reason: String,
        #[source]
        source: io::Error,
    },
    #[error("invalid IP address: {0}")]
    InvalidHostIp(String),
    #[error("publishing {0} ports is not supported")]
    UnsupportedProtocol(String),
    #[error("invalid proto: {0}")]
    InvalidProtocol(String),
    #[error("invalid add-host: \"{0}\"")]
    InvalidExtraHost(String),
    #[error("unable to derive the IP value for host-gateway")]
    NoHostGateway,
    #[error("no available IPv4 addresses on this network's address pools: {bridge} ({subnet})")]
    NoFreeAddress { bridge: String, subnet: String },
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoFreeSubnet,
    #[error("invalid bridge subnet `{0}`")]
    InvalidSubnet(String),
    #[error("invalid interface address `{0}`")]
    InvalidInterface(String),
    #[error("invalid default address pool: {0}")]
    InvalidPool(String),
    #[error("network {0} not found")]
    NotFound(String),
    #[error("network {name} is ambiguous ({count} matches found based on ID prefix)")]
    Ambiguous { name: String, count: usize },
    #[error("network with name {0} already exists")]
    NameExists(String),
    /// Docker's sentence ends with a blank.
    #[error("operation is not permitted on predefined {0} network ")]
    Predefined(String),
    #[error("{0} is a pre-defined network and cannot be removed")]
    CannotRemove(String),
    #[error("error while removing network: network {name} has active endpoints ({endpoints})")]
    ActiveEndpoints { name: String, endpoints: String },
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    Overlap,
    #[error("subnet {0} was taken meanwhile")]
    SubnetTaken(String),
    #[error("Address already in use")]
    AddressTaken,
    /// The request contradicts itself or names something impossible.
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    Refused(String),
    #[error("could not find plugin {0} in v1 plugin registry: plugin \"{0}\" not found")]
    NoDriver(String),
    #[error("bridge name {0} is taken by a device of the host")]
    BridgeTaken(String),
    #[error("a prune operation is already running")]
    PruneRunning,
    #[error("stored {column} of network {id} cannot be read")]
    Unreadable { id: String, column: &'static str },
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("network device {0} exists and is not a bridge")]
    NameTaken(String),
    #[error("cannot read {}", path.display())]
    Remembered {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot remember the network in {}", path.display())]
    Remember {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot lock {}", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {action}")]
    Device {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot set {name} to {value}")]
    Setting {
        name: String,
        value: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("firewall of the network cannot be changed")]
    Firewall(#[from] NftablesError),
}

impl NetworkError {
    /// For `map_err` around the kernel's devices.
    pub(super) fn device(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        |source| Self::Device { action, source }
    }
}

impl Fault for NetworkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::PortAllocated { .. } | Self::RangeAllocated { .. } | Self::Bind { .. } => {
                // Docker answers 500 to these; clients look at the sentence.
                ErrorKind::Internal
            }
            Self::InvalidHostIp(_)
            | Self::InvalidProtocol(_)
            | Self::InvalidExtraHost(_)
            | Self::NoHostGateway
            | Self::InvalidSubnet(_)
            | Self::InvalidPool(_)
            | Self::Ambiguous { .. }
            | Self::Request(_) => ErrorKind::Invalid,
            Self::NotFound(_) | Self::NoDriver(_) => ErrorKind::NotFound,
            Self::NameExists(_)
            | Self::BridgeTaken(_)
            | Self::SubnetTaken(_)
            | Self::PruneRunning => ErrorKind::Conflict,
            Self::Predefined(_)
            | Self::CannotRemove(_)
            | Self::ActiveEndpoints { .. }
            | Self::Overlap
            | Self::AddressTaken
            | Self::Refused(_) => ErrorKind::Denied,
            Self::Store(error) => error.kind(),
            Self::Unreadable { .. } => ErrorKind::Corrupt,
            Self::UnsupportedProtocol(_) => ErrorKind::Unsupported,
            Self::NoFreeAddress { .. } | Self::NoFreeSubnet => ErrorKind::NoSpace,
            Self::NameTaken(_) => ErrorKind::Conflict,
            Self::Remembered { .. } | Self::InvalidInterface(_) => ErrorKind::Corrupt,
            Self::Remember { .. }
            | Self::Lock { .. }
            | Self::Device { .. }
            | Self::Setting { .. }
            | Self::Firewall(_) => ErrorKind::Internal,
        }
    }
}

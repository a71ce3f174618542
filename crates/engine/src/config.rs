//! What an engine is told at its start.

use std::ffi::OsString;
use std::path::PathBuf;

pub use crate::containers::mounts::sources::BindMissing;

/// Settings of one engine. Everything else is in the state directory.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// State directory; made when missing.
    pub root: PathBuf,
    /// Socket of the API; shims wake the engine that listens there.
    pub socket: PathBuf,
    /// Program that is run as `shim`; normally `/proc/self/exe`.
    pub shim_program: PathBuf,
    /// Command line that a shim runs when it has news and no engine is there.
    pub wake: Vec<OsString>,
    /// Runs as a service, not for as long as somebody needs it: its start is the start of the host's containers.
    pub permanent: bool,
    /// Address ranges and device of the default bridge, when not chosen automatically.
    pub bridge_subnet: Option<String>,
    pub bridge_mtu: Option<u32>,
    /// From where networks without a subnet of their own get one, when not from Docker's ranges.
    pub address_pools: Vec<crate::network::AddressPool>,
    /// Mirrors, and who needs no TLS.
    pub registries: registry::Settings,
    /// Through whom servers that keep backups are reached.
    pub proxies: backup::Proxies,
    /// Where volume plugins are looked for.
    pub plugins: volumes::PluginSettings,
    pub care: CareSettings,
    /// A database that is damaged is put aside, and a new one made from what lies beside the data.
    pub rescue: bool,
}

/// How much care is taken of data, where a request says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CareSettings {
    /// What becomes of the source of a `-v` that does not exist.
    pub bind_missing: BindMissing,
    /// A snapshot is made before risky steps.
    pub safety_snapshots: bool,
}

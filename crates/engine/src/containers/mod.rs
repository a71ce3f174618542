//! Containers: their records, their life cycle, and what flows in and out of them.
//!
//! A container is a row in the store, a directory (`containers/<id>`), leases on its volumes, and, while it runs, a
//! shim. The row is written before anything is made and goes last; the shim's files in the run directory are the truth
//! about a running container, the row's state columns a copy of it.
//!
//! One verb a file. A container is named by id, by a unique prefix of it, or by name, with or without a leading `/`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use store::{Paths, Store};
use volumes::Volumes;

use crate::config::EngineConfig;
use crate::events::Events;
use crate::images::Images;
use crate::network::{Network, Networks};

pub mod config;
mod error;

pub mod archive;
pub mod attach;
pub(crate) mod build_step;
pub mod changes;
pub mod commit;
pub mod create;
pub mod exec;
pub mod export;
pub mod find;
pub mod health;
pub mod inspect;
pub mod kill;
pub mod list;
pub mod logs;
pub mod mounts;
pub mod networking;
pub mod pause;
pub mod prune;
pub mod reconnect;
pub mod remove;
pub mod rename;
pub mod restart;
pub mod spec;
pub mod start;
pub mod state;
pub mod stats;
pub mod stop;
pub mod top;
pub mod update;
pub mod wait;

mod cgroup;
mod clean;
mod etc;
mod exit;
pub(crate) mod hold;
mod live;
mod shim;
mod status_text;
mod sweep;

pub use archive::{ArchiveStat, PutOptions};
pub use attach::AttachRequest;
pub use commit::CommitRequest;
pub use config::{Config, Healthcheck, HostConfig};
pub use create::{CreateRequest, Created};
pub use error::ContainerError;
pub use exec::{ExecDetail, ExecRequest, ExecStart};
pub use inspect::{ContainerDetail, MountPoint, NetworkSettings, StateDetail};
pub use list::{ContainerSummary, ListRequest};
pub use logs::{LogLine, LogReader, LogRequest};
pub use prune::PruneReport;
pub use remove::RemoveRequest;
pub use shim_protocol::stdio::Demultiplexer;
pub use state::Status;
pub use stats::Sample;
pub(crate) use sweep::Sweeper;
pub use top::Processes;
pub use update::UpdateRequest;
pub use wait::{WaitCondition, WaitOutcome};

/// All containers of one engine.
#[derive(Debug)]
pub struct Containers {
    pub(crate) config: EngineConfig,
    /// What shims and their helpers are started from.
    pub(crate) shim_program: Arc<sys::program::Program>,
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) events: Events,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) images: Arc<Images>,
    pub(crate) network: Arc<Network>,
    pub(crate) networks: Arc<Networks>,
    /// One entry for each container that exists; locked while a verb changes that container.
    pub(crate) live: Mutex<HashMap<String, Arc<live::Live>>>,
    pub(crate) execs: Mutex<HashMap<String, exec::Exec>>,
    pub(crate) sweeper: Sweeper,
}

//! What the product does: containers, images, volumes and the network behind one blocking façade, [`Engine`].
//!
//! The engine decides and records; it never sets up a container itself, a shim does. It prints nothing, reads no
//! environment and knows no HTTP. Every method may be called from any thread and blocks until its work is done; what
//! only waits (exits, events, log growth, streams) is handed out as a callback or a file descriptor instead.
//!
//! * [`backups`] - volumes in repositories of restic's format, and back.
//! * [`build`] - from a Dockerfile and a context to an image.
//! * [`containers`] - life cycle, streams, files; `containers/mounts` is where containers and volumes meet.
//! * [`images`] - local images: import, load, save, unpacked layers.
//! * [`network`] - bridges, addresses, published ports, the networks that users make.
//! * [`snapshot`] - volumes as they were: kept, restored, cloned, by hand and by schedule.
//! * [`schedules`] - backups that are made by themselves; [`drill`] - restores that prove them.
//! * [`metrics`] - all of that for Prometheus.
//! * [`events`] - what happened, as clients of `GET /events` see it.
//! * [`travel`] - volumes between engines.
//! * [`volume`] - users, audit, pruning and copies of volumes.
//! * [`system`] - version, info and disk usage.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

pub mod backups;
pub mod build;
pub mod config;
pub mod containers;
pub mod drill;
pub mod error;
pub mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod images;
pub mod metrics;
pub mod network;
pub mod schedules;
pub mod snapshot;
pub mod system;
pub mod travel;
pub mod volume;

mod cancel;
mod claims;
mod clock;
mod engine;
mod progress;
mod truth;

pub use archive::Compressed;
pub use cancel::Cancel;
pub use config::{BindMissing, CareSettings, EngineConfig};
pub use engine::{Engine, OpenError};
pub use error::{ErrorKind, Fault, chain};
pub use progress::{Progress, Silent};
pub use registry::{Credentials, Found as FoundRepository, Settings as RegistrySettings};
pub use store::{DEFAULT_ROOT, Paths, VolumeBackupRow, VolumeEventRow};
pub use sys::socket::unread_by_peer;
pub use volumes::{
    Abilities, ChownRequest, CreatePool, CreateVolume, Created as CreatedVolume, Disposal,
    FileEntry, Imported, Inspected, PluginSettings, Pool, PoolError, PruneRequest, Pruned,
    ResizeVolume, TrashLimit, TrashPolicy, Trashed, Volume, VolumeError, VolumeStorage, Volumes,
    parse_size,
};

//! Names, relations and intent of one state directory: a SQLite database and the shape of the directory around it.
//!
//! The database says what exists and what is under way; the directories hold bytes under ids that say nothing. No
//! other crate sees SQL, joins a path below the state directory, or knows a column.
//!
//! * [`Paths`] - where everything is; [`Paths::create_skeleton`] makes the directories.
//! * [`Store`] - `read` and `write` transactions; what can be asked is in `tables`, one file a table.
//! * [`journal`] - changes of several steps that survive a crash at each of them.
//! * [`names`] and the ids - what is a legal name, and names that nobody chose.
//! * [`InstanceLock`] - one engine a state directory.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod db;
mod error;
mod ids;
mod instance_lock;
pub mod journal;
mod migrations;
pub mod names;
mod paths;
mod reserve;
mod tables;

pub use db::{Store, Tx, WriteTx};
pub use error::{ErrorKind, SqlError, StoreError};
pub use ids::{ContainerId, ImageId, LayerId, OpId, PoolId, RepositoryId, SnapshotId, VolumeId};
pub use instance_lock::InstanceLock;
pub use paths::{DEFAULT_ROOT, Paths};
pub use tables::arrivals::ArrivalRow;
pub use tables::backup_repositories::RepositoryRow;
pub use tables::backup_schedules::BackupScheduleRow;
pub use tables::build_cache::{BuildMountRow, BuildRecordRow};
pub use tables::containers::{ContainerListing, ContainerRow, ContainerState};
pub use tables::drills::DrillRow;
pub use tables::images::{DigestRow, ImageRow, TagRow};
pub use tables::layer_blobs::LayerBlobRow;
pub use tables::layers::{LayerRow, LayerState};
pub use tables::leases::LeaseRow;
pub use tables::networks::{NetworkRow, NetworkState};
pub use tables::ops::OpRow;
pub use tables::plugin_mounts::PluginMountRow;
pub use tables::pools::{PoolRow, PoolState};
pub use tables::snapshot_schedules::ScheduleRow;
pub use tables::snapshots::{SnapshotRow, SnapshotState};
pub use tables::volume_backups::VolumeBackupRow;
pub use tables::volume_events::VolumeEventRow;
pub use tables::volume_mounts::MountCount;
pub use tables::volume_notes::{Measured, VolumeNotes};
pub use tables::volume_storage::StorageRow;
pub use tables::volume_trash::TrashRow;
pub use tables::volumes::{VolumeRow, VolumeState};

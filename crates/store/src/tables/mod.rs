//! What can be asked of and recorded in each table: methods on [`crate::Tx`] and [`crate::WriteTx`].
//!
//! A method is one statement, or a few that only make sense together. Rules that span tables belong to the crates that
//! own the subject.

pub(crate) mod arrivals;
pub(crate) mod backup_repositories;
pub(crate) mod backup_schedules;
pub(crate) mod build_cache;
pub(crate) mod containers;
pub(crate) mod drills;
pub(crate) mod images;
pub(crate) mod layer_blobs;
pub(crate) mod layers;
pub(crate) mod leases;
pub(crate) mod meta;
pub(crate) mod networks;
pub(crate) mod ops;
pub(crate) mod plugin_mounts;
pub(crate) mod pools;
pub(crate) mod snapshot_leases;
pub(crate) mod snapshot_schedules;
pub(crate) mod snapshots;
pub(crate) mod volume_backups;
pub(crate) mod volume_events;
pub(crate) mod volume_mounts;
pub(crate) mod volume_notes;
pub(crate) mod volume_storage;
pub(crate) mod volume_trash;
pub(crate) mod volumes;

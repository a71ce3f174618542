//! Backups in repositories of restic's format: another tool can read what is written here, and what it wrote is read.
//!
//! The crate knows files and repositories, neither volumes nor containers. All of it blocks; it prints nothing and reads no
//! environment. A [`Place`] says where a repository is, [`Repository`] does the rest: [`Repository::save`],
//! [`Repository::restore`], [`Repository::check`], [`Repository::prune`]. Why it is built as it is:
//! `docs/decisions/0013-backups.md`.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod cache;
mod check;
mod crypt;
mod error;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod index;
mod keys;
mod location;
mod lock;
mod node;
mod place;
mod places;
mod prune;
mod repository;
mod restore;
mod retry;
mod save;
mod set_aside;
mod snapshot;
mod survey;
mod suspects;
mod view;

pub use check::{Check, Damage, Problem};
pub use crypt::MasterKey;
pub use error::{BackupError, FormatError};
pub use keys::Key;
pub use location::{Location, LocationError, ObjectStore, SshLocation};
pub use place::PlaceError;
pub use places::{Place, Proxies, S3Keys};
pub use prune::{PruneOptions, Pruned};
pub use repository::{Repository, Unlock, Unwatched, Watch};
pub use restore::Restored;
/// Of a backup, a key or a file of a repository: a SHA-256. Text is its 64 digits; shown, the first eight.
pub use rustic_core::Id;
pub use save::{Compare, Parent, Save, Saved};
pub use snapshot::Backup;
pub use sys::catch_up::Began;
pub use view::{Entry, EntryKind};

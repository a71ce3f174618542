//! Backups: volumes in repositories of restic's format, and back.
//!
//! The crate [`backup`] knows repositories and nothing of volumes; here they meet:
//!
//! * [`repositories`] - repositories by name, and what opens them ([`secret`]);
//! * [`save`] - volumes ([`chosen`]), at one instant, with what is known of them ([`manifest`]), one at a time ([`crate::claims`]); [`in_place`] -
//!   without a snapshot;
//! * [`restore`] and [`stack`] - a volume, or all of a group with their containers, from a backup;
//! * [`reference`] - `REPOSITORY:VOLUME@…`, and the backup that it names;
//! * [`read`] - lists, single files; [`forget`] by the rules of [`retention`]; [`verify`].
//!
//! In a repository a volume is the directory `/volumes/NAME`: `_data` holds its files, `volume.json` and
//! `containers.json` what is known of it.
//!
//! Guarantees: a backup is listed once it is complete, and never otherwise; whatever ends a call early, the snapshots and
//! leases that it took go, at the latest with the next start; what is restored is seen complete or not at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store::{Paths, RepositoryId, RepositoryRow, Store};
use volumes::Volumes;

use crate::claims::Claims;
use crate::containers::Containers;
use crate::events::Events;
use crate::images::Images;
use crate::network::Networks;
use crate::snapshot::Snapshots;

mod chosen;
mod error;
mod forget;
mod in_place;
mod manifest;
mod read;
mod reference;
mod repositories;
mod restore;
mod retention;
mod save;
mod secret;
mod stack;
mod verify;
mod watch;

pub use backup::{Entry as BackupEntry, EntryKind as BackupEntryKind, Proxies, S3Keys};
pub use error::BackupError;
pub use forget::{ForgetRequest, Forgotten};
pub use read::{BackupDetail, BackupInfo};
pub use repositories::{AddRepository, Key, RepositoryInfo};
pub use restore::{Beside, RestoreRequest, RestoredVolume};
pub use retention::Keep;
pub use save::{BackedUp, BackupRequest, FailedVolume, SavedVolume};
pub use stack::{StackRequest, StackRestored};
pub use verify::{How, Problem, Verified, VerifyRequest};

/// Everything about backups of one engine.
#[derive(Debug)]
pub struct Backups {
    containers: Arc<Containers>,
    images: Arc<Images>,
    networks: Arc<Networks>,
    snapshots: Arc<Snapshots>,
    volumes: Arc<Volumes>,
    store: Arc<Store>,
    paths: Arc<Paths>,
    events: Events,
    /// Shared by who reads a repository or adds to it, alone with who takes away.
    busy: Mutex<HashMap<RepositoryId, Arc<RwLock<()>>>>,
    /// Volumes that are being backed up, each with where to.
    turns: Claims<(String, String)>,
}

impl Backups {
    /// Takes away what an earlier engine's unfinished backups left; a sentence for each thing.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub(crate) fn open(
        containers: &Arc<Containers>,
        snapshots: &Arc<Snapshots>,
    ) -> Result<(Arc<Self>, Vec<String>), BackupError> {
        let backups = Arc::new(Self {
            containers: Arc::clone(containers),
            images: Arc::clone(&containers.images),
            networks: Arc::clone(&containers.networks),
            snapshots: Arc::clone(snapshots),
            volumes: Arc::clone(&containers.volumes),
            store: Arc::clone(&containers.store),
            paths: Arc::clone(&containers.paths),
            events: containers.events.clone(),
            busy: Mutex::default(),
            turns: Claims::default(),
        });
        let mut sentences = backups.recover_saves()?;
        sentences.extend(backups.sweep_secrets()?);
        Ok((backups, sentences))
    }

    fn lock_of(&self, repository: &RepositoryRow) -> Arc<RwLock<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(busy.entry(repository.id.clone()).or_default())
    }

    fn tell(&self, action: &str, volume: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.events
            .publish("volume", action, volume.to_owned(), attributes);
    }
}

/// An id as text, all of it: shown by itself it would be its beginning.
fn hex(id: backup::Id) -> String {
    id.to_hex().to_string()
}

/// Held while a repository is read or added to.
fn shared(lock: &RwLock<()>) -> RwLockReadGuard<'_, ()> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held while something is taken from a repository.
fn alone(lock: &RwLock<()>) -> RwLockWriteGuard<'_, ()> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

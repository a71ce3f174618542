//! Volumes: named directories that outlive the containers that use them. The heart of the product.
//!
//! This crate knows no containers, images or HTTP. Who uses a volume is a *lease* that the caller takes for a *holder*,
//! an opaque id; what a volume's bytes are stored on is the affair of a [`driver`].
//!
//! The life of a volume, and the file that has each verb:
//!
//! * [`create`] takes a name and makes an empty volume, or finds the one that has the name;
//! * [`lease`] says who needs it: a leased volume is never removed;
//! * [`populate`] fills an empty volume from a directory, [`reseed`] brings what it filled up to date, [`import`] and [`export`] move tar archives;
//! * [`receive`] makes one with a content that a caller writes;
//! * [`mount`] makes its bytes reachable for one more user and gives the path, unmount takes that back;
//! * [`inspect`], [`usage`] and [`history`] tell, [`files`] shows what is in it;
//! * [`rename`], [`label`] and [`chown`] change it;
//! * [`snapshot`] keeps it as it is now, goes back to what was kept, and makes new volumes of it;
//! * [`protect`] keeps it, [`remove`] takes one away and [`prune`] those that nobody needs: into the [`trash`], from
//!   which [`undelete`] brings it back;
//! * [`pool`]s are other places for volumes, [`resize`] says how much one may hold;
//! * [`elsewhere`] does all that for volumes whose bytes a plugin keeps;
//! * [`arrive`] and [`depart`] are for volumes that travel between engines;
//! * [`adopt`] makes a volume of data that lost its record, [`outside`] a copy of a directory that is anybody's;
//! * [`recover`] completes or undoes at start what a crash has cut short.
//!
//! Guarantees, for every call that changes something:
//! * it has happened completely or not at all, after an error as well as after a crash ([`store::journal`]);
//! * once it returns success it survives a power cut;
//! * the bytes of a volume are deleted only by `remove` or `prune` of that volume, never because something is missing,
//!   unknown or unreadable.
//!
//! One volume is changed by one caller at a time; different volumes never wait for each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{Mode, OFlags};
use store::{Paths, Store, VolumeId, VolumeRow, VolumeState};
use volume_plugins::Plugins;

use crate::bell::Bell;

pub mod adopt;
pub mod arrive;
pub mod chown;
pub mod create;
pub mod depart;
pub mod driver;
pub mod elsewhere;
pub mod exclusive;
pub mod export;
pub mod files;
pub mod history;
pub mod import;
pub mod inspect;
pub mod label;
pub mod lease;
pub mod mount;
pub mod outside;
pub mod pool;
pub mod populate;
pub mod protect;
pub mod prune;
pub mod receive;
pub mod recover;
pub mod remove;
pub mod rename;
pub mod reseed;
pub mod resize;
pub mod snapshot;
pub mod trash;
pub mod undelete;
pub mod usage;

mod bell;
mod convert;
mod description;
mod error;
mod event;
mod fill;
mod link;
mod merge;
mod mount_table;
mod observer;
mod passport;
mod place;
mod purge;
mod rescue;
mod volume;

pub use arrive::{Arrival, ArriveVolume, Arriving, Happened, Luggage};
pub use chown::ChownRequest;
pub use create::{ANONYMOUS_LABEL, CreateVolume, Created};
pub use driver::{
    Abilities, Capabilities, Driver, DriverError, Drivers, Held, Limits, Scope, parse_size,
};
pub use elsewhere::survey::{Inspected, Survey};
pub use error::VolumeError;
pub use event::{VolumeAction, VolumeEvent};
pub use exclusive::{Claim, EXCLUSIVE_LABEL};
pub use files::FileEntry;
pub use import::Imported;
pub use lease::Released;
pub use observer::{Observer, Unobserved};
pub use outside::Adopted;
pub use passport::Passport;
pub use pool::{CreatePool, Pool, PoolError};
pub use prune::{PruneCandidate, PrunePlan, PruneRequest, Pruned};
pub use receive::Filling;
pub use remove::Disposal;
pub use rename::Follow;
pub use reseed::{Reseeded, Reseeding, SeedChange};
pub use resize::{ResizeVolume, VolumeStorage};
pub use snapshot::{
    Change, ChangeKind, CloneVolume, CreateSnapshots, LeasedSnapshot, Quiet, RestoreFrom, Restored,
    Snapshot, SnapshotError,
};
pub use trash::{Emptied, TrashLimit, TrashPolicy, Trashed};
pub use volume::{Volume, has_label};
pub use volume_plugins::Settings as PluginSettings;

type Hook = Box<dyn Fn(VolumeEvent) + Send + Sync>;

/// All volumes of one state directory.
pub struct Volumes {
    store: Arc<Store>,
    paths: Arc<Paths>,
    drivers: Drivers,
    plugins: Plugins,
    /// One lock for each name that is being worked on.
    names: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    pruning: Mutex<()>,
    /// Places that somebody is filling.
    arriving: Mutex<BTreeSet<VolumeId>>,
    /// Who is about to write to what.
    claims: Mutex<exclusive::Claims>,
    unclaimed: Condvar,
    /// There is news of the trash.
    bell: Bell,
    trash_rests: Mutex<trash::room::Rests>,
    /// When what has a soft limit alone may be measured again.
    soft_walks: Mutex<BTreeMap<VolumeId, std::time::Instant>>,
    /// A soft limit was set.
    limits_bell: Bell,
    /// A plugin is still to be told something.
    owed: Bell,
    hook: OnceLock<Hook>,
}

impl fmt::Debug for Volumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volumes")
            .field("root", &self.paths.root())
            .finish_non_exhaustive()
    }
}

impl Volumes {
    /// The volumes of a state directory whose skeleton exists. Call [`Volumes::recover`] before anything else, and
    /// [`Volumes::admit_plugins`] when plugins may be waited for.
    ///
    /// # Errors
    /// None today; opening may come to check what drivers need.
    pub fn open(
        store: Arc<Store>,
        paths: Arc<Paths>,
        plugins: volume_plugins::Settings,
    ) -> Result<Self, VolumeError> {
        let plugins = Plugins::new(plugins);
        plugins.hold_off();
        Ok(Self {
            store,
            paths,
            drivers: Drivers::builtin(),
            plugins,
            names: Mutex::default(),
            pruning: Mutex::default(),
            arriving: Mutex::default(),
            claims: Mutex::default(),
            unclaimed: Condvar::new(),
            bell: Bell::default(),
            trash_rests: Mutex::default(),
            soft_walks: Mutex::default(),
            limits_bell: Bell::default(),
            owed: Bell::default(),
            hook: OnceLock::new(),
        })
    }

    /// Tells `hook` of every change from now on. There is one hook; later ones are ignored.
    pub fn on_event(&self, hook: Hook) {
        if self.hook.set(hook).is_err() {
            tracing::debug!("volume events have a listener already");
        }
    }

    fn publish(&self, name: &str, driver: &str, action: VolumeAction) {
        if let Some(hook) = self.hook.get() {
            hook(VolumeEvent {
                name: name.to_owned(),
                driver: driver.to_owned(),
                action,
            });
        }
    }

    /// The lock of one name. Nothing that holds it may ask for another one.
    fn name_lock(&self, name: &str) -> Arc<Mutex<()>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(names.entry(name.to_owned()).or_default())
    }

    /// The complete volume called `name`.
    fn row(&self, name: &str) -> Result<VolumeRow, VolumeError> {
        self.store
            .read(|tx| tx.volume_by_name(name))?
            .filter(|row| row.state == VolumeState::Ready)
            .ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    /// Opens the directory that holds a volume's bytes.
    fn open_content(&self, row: &VolumeRow) -> Result<OwnedFd, VolumeError> {
        if self.is_elsewhere(&row.driver) {
            let path = self.mounted_at(row)?;
            // Links on the way are the plugin's.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            return rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|error| VolumeError::io("open", path)(error.into()));
        }
        let path = self.paths.volume_content(&row.id);
        self.expose(row, &path)?;
        match open_directory(&path) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let error = self.unavailable(row, path)?;
                // Looking for its pool may have brought that back.
                let path = self.paths.volume_content(&row.id);
                self.expose(row, &path)?;
                open_directory(&path).map_err(|_| error)
            }
            Err(source) => Err(VolumeError::io("open", path)(source)),
        }
    }

    /// Why the bytes of a volume are not there.
    fn unavailable(
        &self,
        row: &VolumeRow,
        path: std::path::PathBuf,
    ) -> Result<VolumeError, VolumeError> {
        let name = row.name.clone();
        Ok(match self.down_pool_of(&row.id)? {
            Some(pool) => VolumeError::PoolDown { name, pool },
            None => VolumeError::Unavailable { name, path },
        })
    }

    /// Sees to it that a tree of the volume can be read, if it has a filesystem of its own.
    fn expose(&self, row: &VolumeRow, tree: &Path) -> Result<(), VolumeError> {
        let Some(driver) = self.drivers.find(&row.driver) else {
            return Ok(());
        };
        driver.expose(tree).map_err(|reason| VolumeError::Mount {
            path: tree.to_owned(),
            reason,
        })
    }

    /// Rings whenever a soft limit was set; there is one listener, the last one.
    pub fn on_limits(&self) -> std::sync::mpsc::Receiver<()> {
        self.limits_bell.listen()
    }

    fn ring_limits(&self) {
        self.limits_bell.ring();
    }
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A lock that a panic of its last holder does not close: what was cut short is in the journal.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

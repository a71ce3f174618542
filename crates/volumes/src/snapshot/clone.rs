//! `clone`: a new volume with the content of a snapshot, or of a volume as it is.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the name is taken. It is on disk before step 2 makes anything, or with it
//! 2. `copy`: `data/<id>` with the content, between holding writers and letting them go on; synced up to its entry in
//!    `data`; the link by name
//! 3. commit, with step 2's record: row `ready`. It is waited for unless the copy is evident and needs no limit
//!
//! Before 3 everything is undone: nobody has seen the volume, and what is in it is a copy. An evident one counts as 3; the link is made
//! by every start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::names::check_volume_name;
use store::{OpId, PoolId, SnapshotId, StorageRow, VolumeId, VolumeRow, VolumeState, WriteTx};

use super::create::{Tree, copy_held, held_still, still_wanted};
use super::{Quiet, SnapshotError};
use crate::create::ANONYMOUS_LABEL;
use crate::driver::Access;
use crate::observer::Observed;
use crate::{Observer, Volume, VolumeAction, Volumes, held, link, place};

/// Which volume shall be.
#[derive(Debug, Clone, Default)]
pub struct CloneVolume {
    pub source: String,
    /// `None`: the present.
    pub snapshot: Option<String>,
    pub name: String,
    /// In addition to those of the source, or in place of one of the same name.
    pub labels: BTreeMap<String, String>,
    /// Where it shall lie; `None`: where its source does.
    pub pool: Option<String>,
    /// What is noted of who made it, as [`store::WriteTx::set_volume_creator`] takes it.
    pub creator: Option<String>,
}

impl CloneVolume {
    /// What is cloned, as people write it.
    pub fn of(&self) -> String {
        match &self.snapshot {
            Some(name) => format!("{}@{name}", self.source),
            None => self.source.clone(),
        }
    }
}

impl Volumes {
    /// Makes the volume, with driver, options and labels of its source. `quiet` is held while content is copied; `observer`
    /// is told of the new volume.
    ///
    /// # Errors
    /// [`SnapshotError::VolumeName`], [`SnapshotError::Exists`], [`SnapshotError::NotFound`],
    /// [`SnapshotError::Elsewhere`], [`SnapshotError::Quiet`], those of the volume and of the disk; what the observer stopped
    /// is of the kind `Cancelled`.
    pub fn clone_volume(
        &self,
        request: &CloneVolume,
        quiet: &dyn Quiet,
        observer: &dyn Observer,
    ) -> Result<Volume, SnapshotError> {
        check_volume_name(&request.name).map_err(|reason| SnapshotError::VolumeName {
            name: request.name.clone(),
            reason,
        })?;
        let locks = self.name_locks([request.source.as_str(), request.name.as_str()].into_iter());
        let _held: Vec<_> = locks.iter().map(|lock| held(lock)).collect();
        let source = self.row(&request.source)?;
        self.sharing_of(&source)?;
        let snapshot = request
            .snapshot
            .as_deref()
            .map(|name| self.snapshot_row(&source, name))
            .transpose()?;
        let pool = self.pool_of_clone(request)?;
        let lies_in = self.store.read(|tx| tx.volume_storage(&source.id))?.pool;
        let clone = Clone {
            id: VolumeId::random(),
            name: request.name.clone(),
            driver: source.driver,
            source: source.id,
            snapshot: snapshot.map(|row| row.id),
            labels: request.labels.clone(),
            moved: pool.filter(|pool| *pool != lies_in).map(Moved),
            of: request.of(),
            creator: request.creator.clone(),
        };
        let context = Context {
            volumes: self,
            quiet: Some(quiet),
            observer,
        };
        journal::execute(&self.store, &clone, &context)?;
        let row = self.row(&clone.name)?;
        self.describe(&row.id);
        self.ring_limits();
        self.publish(&row.name, &row.driver, VolumeAction::Create);
        Ok(self.shown(row))
    }

    /// Where a clone shall lie, if that was said: in a pool, or in the state directory.
    pub(super) fn pool_of_clone(
        &self,
        request: &CloneVolume,
    ) -> Result<Option<Option<PoolId>>, SnapshotError> {
        let pool = request.pool.as_deref().map(|wanted| {
            self.pool_for(Some(wanted)).map_err(|reason| {
                SnapshotError::Volume(crate::VolumeError::Pool {
                    name: request.name.clone(),
                    reason: Box::new(reason),
                })
            })
        });
        pool.transpose()
    }
}

pub(crate) struct Context<'a> {
    pub(crate) volumes: &'a Volumes,
    /// Recovery only undoes, and holds nobody.
    pub(crate) quiet: Option<&'a dyn Quiet>,
    pub(crate) observer: &'a dyn Observer,
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Clone {
    id: VolumeId,
    name: String,
    driver: String,
    source: VolumeId,
    snapshot: Option<SnapshotId>,
    labels: BTreeMap<String, String>,
    /// It does not lie where its source does.
    #[serde(default)]
    moved: Option<Moved>,
    /// For the history.
    #[serde(default)]
    of: String,
    #[serde(default)]
    creator: Option<String>,
}

/// Into a pool; `None`: into the state directory.
#[derive(Debug, Serialize, Deserialize)]
struct Moved(Option<PoolId>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Copy,
}

impl Clone {
    fn source(&self, volumes: &Volumes) -> PathBuf {
        match &self.snapshot {
            Some(snapshot) => volumes.paths.snapshot(&self.source, snapshot),
            None => volumes.paths.volume_content(&self.source),
        }
    }
}

impl Operation for Clone {
    const KIND: &'static str = "volume-clone";
    const STEPS: &'static [(&'static str, Step)] = &[("copy", Step::Copy)];
    const COMMIT: Option<Step> = Some(Step::Copy);
    const BEGINS_SOON: bool = true;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = SnapshotError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        if tx.volume_by_name(&self.name)?.is_some() {
            return Err(SnapshotError::Exists(self.name.clone()));
        }
        let source = tx
            .volume(&self.source)?
            .filter(|row| row.state == VolumeState::Ready)
            .ok_or_else(|| {
                SnapshotError::Volume(crate::VolumeError::NotFound(self.source.to_string()))
            })?;
        let mut labels = source.labels.clone().unwrap_or_default();
        labels.remove(ANONYMOUS_LABEL);
        labels.extend(self.labels.clone());
        let mut storage = tx.volume_storage(&self.source)?;
        if let Some(Moved(pool)) = &self.moved {
            storage.pool.clone_from(pool);
        }
        if storage != StorageRow::default() {
            tx.set_volume_storage(
                &self.id,
                &StorageRow {
                    soft_crossed: false,
                    ..storage
                },
            )?;
        }
        let now = Timestamp::now();
        Ok(tx.insert_volume(&VolumeRow {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: (!labels.is_empty()).then_some(labels),
            anonymous: false,
            state: VolumeState::Creating,
            // Whole seconds, as Docker shows them.
            created_at: Timestamp::from_second(now.as_second())
                .unwrap_or(now)
                .to_string(),
            ..source
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        let driver = volumes.tree_driver(&self.name, &self.driver)?;
        let storage = volumes.store.read(|tx| tx.volume_storage(&self.id))?;
        let pool = storage.pool.as_ref();
        let directory = volumes.paths.volume_home(&self.id, pool);
        let content = volumes.paths.volume_home_content(&self.id, pool);
        let source = self.source(volumes);
        // A snapshot holds still by itself.
        let quiet = context.quiet.filter(|_| self.snapshot.is_none());
        let limits = crate::resize::limits(&storage);
        if self.moved.is_none() && limits.is_none() {
            let around = directory.parent().unwrap_or(&directory);
            volumes.wait_for_intent(driver, &source, around)?;
        } else {
            volumes.store.wait()?;
        }
        match sys::durable::create_dir_unsynced(&directory, 0o701) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(SnapshotError::io("make", &directory))?,
        }
        let tree = Tree {
            driver,
            from: source,
            to: content.clone(),
            access: Access::Writable,
            observed: Observed::new(&self.name, context.observer),
        };
        let watch = |more| tree.observed.advance(more);
        let replica = match (&self.moved, quiet) {
            (None, None) => driver.replicate_within(&tree.from, &content, limits, &watch)?,
            (None, Some(_)) => copy_held(quiet, std::slice::from_ref(&tree))?[0],
            (Some(_), None) => driver.transplant(&tree.from, &content, limits, &watch)?,
            (Some(_), Some(quiet)) => {
                let ahead = driver.transplant_ahead(&tree.from, &content, limits)?;
                quiet.ready().map_err(SnapshotError::Quiet)?;
                held_still(quiet, || {
                    let caught_up = match &ahead {
                        Some(ahead) => driver.catch_up(&tree.from, &content, ahead, &watch)?,
                        None => None,
                    };
                    match caught_up {
                        Some(replica) => Ok(replica),
                        None => {
                            tree.observed.begin();
                            Ok(driver.transplant(&tree.from, &content, limits, &watch)?)
                        }
                    }
                })?
            }
        };
        tree.observed.settles(replica);
        driver.settle(&content, Access::Writable, replica)?;
        still_wanted(context.observer)?;
        driver.limit(&content, limits)?;
        place::link(&volumes.paths, &self.id, pool)?;
        let data = volumes.paths.data();
        sys::durable::sync_dir(&data).map_err(SnapshotError::io("sync", data))?;
        link::make(&volumes.paths, &self.name, &self.id).map_err(SnapshotError::io(
            "link",
            volumes.paths.volume_link(&self.name),
        ))
    }

    fn is_evident(&self, context: &Context<'_>) -> Result<bool, SnapshotError> {
        let volumes = context.volumes;
        let storage = volumes.store.read(|tx| tx.volume_storage(&self.id))?;
        // That comes after the copy.
        if !crate::resize::limits(&storage).is_none() {
            return Ok(false);
        }
        // In a pool it is found by the link to it, which comes last.
        let content = volumes.paths.volume_content(&self.id);
        Ok(volumes
            .tree_driver(&self.name, &self.driver)?
            .is_evident(&content)?)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        let now = Timestamp::now().to_string();
        tx.insert_volume_event(&self.id, &now, "clone", &format!("of {}", self.of))?;
        if let Some(creator) = &self.creator {
            tx.set_volume_creator(&self.id, creator)?;
        }
        Ok(tx.set_volume_state(&self.id, VolumeState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        link::remove(&volumes.paths, &self.name, &self.id).map_err(SnapshotError::io(
            "unlink",
            volumes.paths.volume_link(&self.name),
        ))?;
        let pool = volumes.store.read(|tx| tx.volume_storage(&self.id))?.pool;
        let driver = volumes.tree_driver(&self.name, &self.driver)?;
        let directory = volumes.paths.volume_home(&self.id, pool.as_ref());
        if directory.is_dir() {
            driver.renounce(&directory, Some(self.id.as_str()));
        }
        driver.discard(&volumes.paths.volume_home_content(&self.id, pool.as_ref()))?;
        driver.discard(&directory)?;
        Ok(place::unlink(&volumes.paths, &self.id, pool.as_ref())?)
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        Ok(tx.delete_volume(&self.id)?)
    }
}

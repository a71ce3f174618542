//! `create`: snapshots of one volume, or of several at one instant.
//!
//! Steps of the journaled operation:
//! 1. begin: rows `creating`; the names are taken. It is on disk before step 2 makes anything, or with it
//! 2. `copy`: every volume's content is copied to `snapshots/<id>` while writers are held, what can be copied before is; then
//!    the copies are synced
//! 3. commit, with step 2's record: rows `ready`. It is waited for unless all copies are evident
//!
//! Before 3 everything is undone: nobody has seen the copies. Evident ones count as 3.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, SnapshotId, SnapshotRow, SnapshotState, VolumeId, VolumeRow, WriteTx};

use super::{Quiet, Snapshot, SnapshotError, check_name, time_name};
use crate::driver::{Access, Ahead, Driver, Replica};
use crate::observer::Observed;
use crate::{Observer, Volumes, held};

/// Which snapshots shall be.
#[derive(Debug, Clone, Default)]
pub struct CreateSnapshots {
    pub volumes: Vec<String>,
    /// The same for each volume; `None`: the time.
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// `manual`, `schedule` …
    pub reason: String,
    /// What the caller does so that the bytes fit together, for people.
    pub consistency: String,
    pub expires_at: Option<Timestamp>,
    pub pinned: bool,
    /// The schedules of the volumes want it, and have run at this time once it is made.
    pub scheduled: Option<Timestamp>,
}

impl Volumes {
    /// Makes the snapshots, all or none. `quiet` is held from the first byte to the last, never while data is synced.
    /// `observer` is told of the volumes.
    ///
    /// # Errors
    /// [`SnapshotError::Name`], [`SnapshotError::Taken`], [`SnapshotError::Elsewhere`], [`SnapshotError::Quiet`], those
    /// of the volumes and of the disk; what the observer stopped is of the kind `Cancelled`.
    pub fn create_snapshots(
        &self,
        request: &CreateSnapshots,
        quiet: &dyn Quiet,
        observer: &dyn Observer,
    ) -> Result<Vec<Snapshot>, SnapshotError> {
        if let Some(name) = &request.name {
            check_name(name)?;
        }
        if request.volumes.is_empty() {
            return Err(SnapshotError::Nothing);
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = request.volumes.iter().find(|&name| !seen.insert(name)) {
            return Err(SnapshotError::Twice(twice.clone()));
        }
        let locks = self.name_locks(request.volumes.iter().map(String::as_str));
        let _held: Vec<_> = locks.iter().map(|lock| held(lock)).collect();
        let rows = request
            .volumes
            .iter()
            .map(|name| self.row(name))
            .collect::<Result<Vec<VolumeRow>, _>>()?;
        for row in &rows {
            self.sharing_of(row)?;
        }
        let now = Timestamp::now();
        let name = match &request.name {
            Some(name) => name.clone(),
            None => self.free_name(&time_name(now), &rows)?,
        };
        let create = Create {
            object: request.volumes.join(", "),
            members: rows
                .into_iter()
                .map(|row| Member {
                    snapshot: SnapshotId::random(),
                    volume: row.id,
                    volume_name: row.name,
                    driver: row.driver,
                })
                .collect(),
            name,
            created_at: now.to_string(),
            labels: request.labels.clone(),
            reason: request.reason.clone(),
            consistency: request.consistency.clone(),
            expires_at: request.expires_at.map(|time| time.to_string()),
            pinned: request.pinned,
            scheduled: request.scheduled.map(|time| time.to_string()),
            sizes: RefCell::default(),
        };
        let context = Context {
            volumes: self,
            quiet: Some(quiet),
            observer,
        };
        journal::execute(&self.store, &create, &context)?;
        for member in &create.members {
            self.describe(&member.volume);
        }
        create
            .members
            .iter()
            .map(|member| self.snapshot(&member.volume_name, &create.name))
            .collect()
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
pub(crate) struct Create {
    /// Names of the volumes, for people.
    object: String,
    members: Vec<Member>,
    name: String,
    created_at: String,
    labels: BTreeMap<String, String>,
    reason: String,
    consistency: String,
    expires_at: Option<String>,
    pinned: bool,
    #[serde(default)]
    scheduled: Option<String>,
    /// Bytes in the files of each copy, as far as copying tells; nothing while there are none.
    #[serde(skip)]
    sizes: RefCell<Vec<Option<u64>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    snapshot: SnapshotId,
    volume: VolumeId,
    volume_name: String,
    driver: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Copy,
}

impl Create {
    fn trees<'v>(&'v self, context: &Context<'v>) -> Result<Vec<Tree<'v>>, SnapshotError> {
        let volumes = context.volumes;
        self.members
            .iter()
            .map(|member| {
                Ok(Tree {
                    driver: volumes.tree_driver(&member.volume_name, &member.driver)?,
                    from: volumes.paths.volume_content(&member.volume),
                    to: volumes.paths.snapshot(&member.volume, &member.snapshot),
                    access: Access::ReadOnly,
                    observed: Observed::new(&member.volume_name, context.observer),
                })
            })
            .collect()
    }
}

impl Operation for Create {
    const KIND: &'static str = "snapshot-create";
    const STEPS: &'static [(&'static str, Step)] = &[("copy", Step::Copy)];
    const COMMIT: Option<Step> = Some(Step::Copy);
    const BEGINS_SOON: bool = true;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = SnapshotError;

    fn object(&self) -> &str {
        &self.object
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        // The id of its first snapshot tells a group from every other one.
        let group = (self.members.len() > 1)
            .then(|| self.members.first().map(|first| first.snapshot.to_string()))
            .flatten();
        for member in &self.members {
            if tx.snapshot_by_name(&member.volume, &self.name)?.is_some() {
                return Err(SnapshotError::Taken {
                    volume: member.volume_name.clone(),
                    name: self.name.clone(),
                });
            }
            tx.insert_snapshot(&SnapshotRow {
                id: member.snapshot.clone(),
                volume: member.volume.clone(),
                name: self.name.clone(),
                created_at: self.created_at.clone(),
                state: SnapshotState::Creating,
                labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
                reason: self.reason.clone(),
                consistency: self.consistency.clone(),
                group: group.clone(),
                expires_at: self.expires_at.clone(),
                pinned: self.pinned,
                size: None,
            })?;
        }
        Ok(())
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        let trees = self.trees(context)?;
        for (tree, member) in trees.iter().zip(&self.members) {
            let home = volumes.paths.volume_entry(&member.volume);
            volumes.wait_for_intent(tree.driver, &tree.from, &home)?;
        }
        for member in &self.members {
            volumes.ensure_snapshots(&member.volume)?;
        }
        let replicas = copy_held(context.quiet, &trees)?;
        for (tree, replica) in trees.iter().zip(&replicas) {
            tree.observed.settles(*replica);
            tree.driver.settle(&tree.to, tree.access, *replica)?;
            still_wanted(context.observer)?;
        }
        let sizes = replicas.iter().map(|replica| match replica {
            Replica::Whole => None,
            Replica::Files { bytes } => Some(*bytes),
        });
        self.sizes.replace(sizes.collect());
        Ok(())
    }

    fn is_evident(&self, context: &Context<'_>) -> Result<bool, SnapshotError> {
        if self.sizes.borrow().iter().any(Option::is_some) {
            return Ok(false);
        }
        let trees = self.trees(context)?;
        for tree in &trees {
            if !tree.driver.is_evident(&tree.to)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        for (member, size) in self.members.iter().zip(self.sizes.borrow().iter()) {
            if let Some(bytes) = size {
                tx.set_snapshot_size(&member.snapshot, *bytes)?;
            }
        }
        for member in &self.members {
            tx.set_snapshot_state(&member.snapshot, SnapshotState::Ready)?;
            // With the snapshot: one that is made and not noted would be made again, and retention counts both.
            if let Some(at) = &self.scheduled {
                tx.schedule_ran(&member.volume, at)?;
            }
            if super::is_told(&self.reason) {
                let action = if self.scheduled.is_some() {
                    "snapshot_scheduled"
                } else {
                    "snapshot"
                };
                let detail = format!("{} ({}, {})", self.name, self.reason, self.consistency);
                tx.insert_volume_event(&member.volume, &self.created_at, action, &detail)?;
            }
        }
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        self.members.iter().try_for_each(|member| {
            let tree = volumes.paths.snapshot(&member.volume, &member.snapshot);
            Ok(volumes
                .tree_driver(&member.volume_name, &member.driver)?
                .discard(&tree)?)
        })
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        self.members
            .iter()
            .try_for_each(|member| Ok(tx.delete_snapshot(&member.snapshot)?))
    }
}

/// What is to be copied, and where to.
pub(super) struct Tree<'a> {
    pub(super) driver: &'a dyn Driver,
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) access: Access,
    pub(super) observed: Observed<'a>,
}

impl Tree<'_> {
    fn copy(&self, ahead: Option<&Ahead>) -> Result<Replica, SnapshotError> {
        let watch = |more| self.observed.advance(more);
        if let Some(ahead) = ahead
            && let Some(replica) = self.driver.catch_up(&self.from, &self.to, ahead, &watch)?
        {
            return Ok(replica);
        }
        self.observed.begin();
        Ok(self
            .driver
            .replicate(&self.from, &self.to, self.access, &watch)?)
    }
}

/// Copies the trees at one instant, at which nobody writes; recovery, which only undoes, holds nobody.
pub(super) fn copy_held(
    quiet: Option<&dyn Quiet>,
    trees: &[Tree<'_>],
) -> Result<Vec<Replica>, SnapshotError> {
    let Some(quiet) = quiet else {
        return trees.iter().map(|tree| tree.copy(None)).collect();
    };
    let ahead = trees
        .iter()
        .map(|tree| {
            if quiet.is_felt() {
                let watch = |more| tree.observed.advance(more);
                Ok(tree.driver.copy_ahead(&tree.from, &tree.to, &watch)?)
            } else {
                Ok(None)
            }
        })
        .collect::<Result<Vec<_>, SnapshotError>>()?;
    quiet.ready().map_err(SnapshotError::Quiet)?;
    held_still(quiet, || {
        let trees = trees.iter().zip(&ahead);
        trees
            .map(|(tree, ahead)| tree.copy(ahead.as_ref()))
            .collect()
    })
}

/// Before what was made counts: fails when nobody wants it any more.
pub(super) fn still_wanted(observer: &dyn Observer) -> Result<(), SnapshotError> {
    if observer.is_stopped() {
        return Err(SnapshotError::Cancelled);
    }
    Ok(())
}

/// Runs `copy` while nobody writes; lets them go on whatever happens, a panic included.
pub(super) fn held_still<T>(
    quiet: &dyn Quiet,
    copy: impl FnOnce() -> Result<T, SnapshotError>,
) -> Result<T, SnapshotError> {
    struct Release<'a>(&'a dyn Quiet);
    impl Drop for Release<'_> {
        fn drop(&mut self) {
            self.0.release();
        }
    }
    let _release = Release(quiet);
    quiet.hold().map_err(SnapshotError::Quiet)?;
    let copied = copy()?;
    quiet.stood_still().map_err(SnapshotError::Quiet)?;
    Ok(copied)
}

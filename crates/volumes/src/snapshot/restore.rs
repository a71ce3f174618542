//! `restore`: a snapshot becomes the present, and the present a snapshot.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating` of the snapshot that the present will be, its name taken
//! 2. `stage`: a copy of the snapshot is in `_next`, durable; the commit point. What was received for this is moved there
//! 3. `flip`: `_data` is renamed to the new snapshot, `_next` to `_data`; with its record the row is `ready`
//!
//! A crash before 2's record changes nothing; after it recovery renames what is not renamed yet. Nothing of the present is
//! copied or deleted, so a restore is undone by restoring what it kept. Whoever has the old tree mounted keeps it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, SnapshotId, SnapshotRow, SnapshotState, VolumeId, WriteTx};

use super::create::still_wanted;
use super::{BEFORE_RESTORE, SnapshotError, time_name};
use crate::driver::Access;
use crate::observer::Observed;
use crate::{Observer, Volumes, held};

/// What becomes the present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreFrom {
    /// The snapshot of this name.
    Snapshot(String),
    /// What the last restore took away.
    LastKept,
    /// What [`Volumes::receive_content`] took under this name; it is used up.
    Received(String),
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Name of the snapshot that is the present now.
    pub from: String,
    /// Name under which the present before it was kept; `None`: there was none.
    pub kept: Option<String>,
}

impl Volumes {
    /// Makes a snapshot the content of its volume. `mounted`: somebody goes on writing to the old tree, which is then not
    /// made read-only.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::NothingToUndo`], [`SnapshotError::Elsewhere`],
    /// [`SnapshotError::Unfinished`], those of the volume and of the disk; what the observer stopped is of the kind
    /// `Cancelled`.
    pub fn restore(
        &self,
        volume: &str,
        from: &RestoreFrom,
        mounted: bool,
        observer: &dyn Observer,
    ) -> Result<Restored, SnapshotError> {
        let lock = self.name_lock(volume);
        let _held = held(&lock);
        let row = self.row(volume)?;
        let snapshot = match from {
            RestoreFrom::Snapshot(name) | RestoreFrom::Received(name) => {
                self.snapshot_row(&row, name)?
            }
            RestoreFrom::LastKept => self
                .store
                .read(|tx| tx.snapshots_of(&row.id))?
                .into_iter()
                .rfind(|snapshot| snapshot.reason == BEFORE_RESTORE)
                .ok_or_else(|| SnapshotError::NothingToUndo(row.name.clone()))?,
        };
        let now = Timestamp::now();
        // A volume whose content has vanished can still be turned back.
        let there = exists(&self.paths.volume_content(&row.id))?;
        let kept = if there {
            self.sharing_of(&row)?;
            let stem = format!("{BEFORE_RESTORE}-{}", time_name(now));
            let name = self.free_name(&stem, std::slice::from_ref(&row))?;
            Some(Kept {
                id: SnapshotId::random(),
                name,
            })
        } else {
            None
        };
        let restore = Restore {
            volume: row.id,
            name: row.name,
            driver: row.driver,
            from: snapshot.id,
            kept,
            at: now.to_string(),
            mounted,
            received: matches!(from, RestoreFrom::Received(_)),
            from_name: snapshot.name.clone(),
            undo: matches!(from, RestoreFrom::LastKept),
        };
        let context = Context {
            volumes: self,
            observer,
        };
        journal::execute(&self.store, &restore, &context)?;
        self.describe(&restore.volume);
        Ok(Restored {
            from: snapshot.name,
            kept: restore.kept.map(|kept| kept.name),
        })
    }
}

pub(crate) struct Context<'a> {
    pub(crate) volumes: &'a Volumes,
    pub(crate) observer: &'a dyn Observer,
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Restore {
    volume: VolumeId,
    name: String,
    driver: String,
    from: SnapshotId,
    kept: Option<Kept>,
    at: String,
    mounted: bool,
    /// Its tree is moved, not copied; its row has gone with the beginning.
    #[serde(default)]
    received: bool,
    /// For the history.
    #[serde(default)]
    from_name: String,
    #[serde(default)]
    undo: bool,
}

/// The snapshot that the present becomes.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: SnapshotId,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Stage,
    Flip,
}

impl Restore {
    fn stage(&self, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        let driver = volumes.tree_driver(&self.name, &self.driver)?;
        let snapshot = volumes.paths.snapshot(&self.volume, &self.from);
        let next = volumes.paths.volume_next(&self.volume);
        // What was limited since is limited still.
        let storage = volumes.store.read(|tx| tx.volume_storage(&self.volume))?;
        let limits = crate::resize::limits(&storage);
        if self.received {
            if exists(&snapshot)? {
                driver.discard(&next)?;
                driver.relocate(&snapshot, &next)?;
            }
        } else {
            let observed = Observed::new(&self.name, context.observer);
            let watch = |more| observed.advance(more);
            let replica = driver.replicate_within(&snapshot, &next, limits, &watch)?;
            observed.settles(replica);
            driver.settle(&next, Access::Writable, replica)?;
            still_wanted(context.observer)?;
        }
        Ok(driver.limit(&next, limits)?)
    }

    fn flip(&self, volumes: &Volumes) -> Result<(), SnapshotError> {
        let driver = volumes.tree_driver(&self.name, &self.driver)?;
        let content = volumes.paths.volume_content(&self.volume);
        let next = volumes.paths.volume_next(&self.volume);
        let kept = self
            .kept
            .as_ref()
            .map(|kept| volumes.paths.snapshot(&self.volume, &kept.id));
        // Without it the attempt that a crash cut short had renamed both.
        if exists(&next)? {
            if let Some(kept) = &kept
                && !exists(kept)?
            {
                volumes.ensure_snapshots(&self.volume)?;
                driver.relocate(&content, kept)?;
            }
            driver.relocate(&next, &content)?;
        }
        if let Some(kept) = kept.filter(|_| !self.mounted) {
            driver.seal(&kept)?;
        }
        Ok(driver.expose(&content)?)
    }
}

impl Operation for Restore {
    const KIND: &'static str = "volume-restore";
    const STEPS: &'static [(&'static str, Step)] = &[("stage", Step::Stage), ("flip", Step::Flip)];
    const COMMIT: Option<Step> = Some(Step::Stage);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = SnapshotError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        let open = tx.ops_of_kind(Self::KIND)?;
        if open.iter().any(|op| op.object == self.name) {
            return Err(SnapshotError::Unfinished(self.name.clone()));
        }
        if self.received {
            tx.delete_snapshot(&self.from)?;
        }
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        Ok(tx.insert_snapshot(&SnapshotRow {
            id: kept.id.clone(),
            volume: self.volume.clone(),
            name: kept.name.clone(),
            created_at: self.at.clone(),
            state: SnapshotState::Creating,
            labels: None,
            reason: BEFORE_RESTORE.to_owned(),
            consistency: "none".to_owned(),
            group: None,
            expires_at: None,
            pinned: false,
            size: None,
        })?)
    }

    fn run(&self, step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        match step {
            Step::Stage => self.stage(context),
            Step::Flip => self.flip(context.volumes),
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        // Of what was received somebody else tells.
        if step == Step::Stage && !self.received {
            let action = if self.undo { "restore_undo" } else { "restore" };
            let detail = match &self.kept {
                Some(kept) => format!("{}; kept as {}", self.from_name, kept.name),
                None => self.from_name.clone(),
            };
            tx.insert_volume_event(&self.volume, &self.at, action, &detail)?;
        }
        match (step, &self.kept) {
            (Step::Flip, Some(kept)) => Ok(tx.set_snapshot_state(&kept.id, SnapshotState::Ready)?),
            _ => Ok(()),
        }
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        let driver = volumes.tree_driver(&self.name, &self.driver)?;
        if self.received {
            driver.discard(&volumes.paths.snapshot(&self.volume, &self.from))?;
        }
        Ok(driver.discard(&volumes.paths.volume_next(&self.volume))?)
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        match &self.kept {
            Some(kept) => Ok(tx.delete_snapshot(&kept.id)?),
            None => Ok(()),
        }
    }
}

fn exists(path: &std::path::Path) -> Result<bool, SnapshotError> {
    path.try_exists()
        .map_err(SnapshotError::io("look at", path))
}

//! `receive`: a tree of a volume that the caller writes, to become its content by the [`restore`](super::restore) that
//! follows.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the volume is leased, so that it stays
//! 2. `write`: the caller writes the tree, for which the volume can be used meanwhile; it is synced
//! 3. commit, with step 2's record: row `ready`, the lease ends
//!
//! Before 3 everything is undone. A snapshot that was received and did not become a content goes at the next start.

use std::cell::RefCell;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, SnapshotId, SnapshotRow, SnapshotState, VolumeId, WriteTx};

use super::{SnapshotError, time_name};
use crate::driver::{Access, Replica};
use crate::mount::OWN;
use crate::receive::Filling;
use crate::{VolumeError, Volumes, held};

/// Why such a snapshot was made.
pub const RECEIVED: &str = "received";

impl Volumes {
    /// Takes what `filling` writes for the content that the volume is going to have; the name for
    /// [`RestoreFrom::Received`](crate::RestoreFrom::Received).
    ///
    /// # Errors
    /// [`SnapshotError::Elsewhere`], [`VolumeError::Received`] with what `filling` returned, those of the volume and of
    /// the disk. Nothing is left then.
    pub fn receive_content(
        &self,
        volume: &str,
        filling: &mut Filling<'_>,
    ) -> Result<String, SnapshotError> {
        let receive = {
            let lock = self.name_lock(volume);
            let _held = held(&lock);
            let row = self.row(volume)?;
            self.sharing_of(&row)?;
            let now = Timestamp::now();
            let name = self.free_name(
                &format!("{RECEIVED}-{}", time_name(now)),
                std::slice::from_ref(&row),
            )?;
            Receive {
                snapshot: SnapshotId::random(),
                volume: row.id,
                volume_name: row.name,
                driver: row.driver,
                name,
                created_at: now.to_string(),
            }
        };
        let context = Context {
            volumes: self,
            filling: Some(RefCell::new(filling)),
        };
        journal::execute(&self.store, &receive, &context)?;
        Ok(receive.name)
    }

    /// Removes what was received for a content and did not become one; a sentence for each.
    pub(crate) fn drop_received(&self) -> Result<Vec<String>, VolumeError> {
        let snapshots = match self.snapshots(None) {
            Ok(snapshots) => snapshots,
            Err(SnapshotError::Volume(error)) => return Err(error),
            Err(error) => return Ok(vec![error.to_string()]),
        };
        let mut sentences = Vec::new();
        for snapshot in snapshots
            .into_iter()
            .filter(|snapshot| snapshot.reason == RECEIVED)
        {
            sentences.push(
                match self.remove_snapshot(&snapshot.volume, &snapshot.name) {
                    Ok(()) => format!(
                        "what an unfinished restore of volume {} had brought was removed",
                        snapshot.volume
                    ),
                    Err(error) => error.to_string(),
                },
            );
        }
        Ok(sentences)
    }

    /// Gives up a tree of [`Volumes::receive_content`].
    ///
    /// # Errors
    /// Those of [`Volumes::remove_snapshot`].
    pub fn refuse_content(&self, volume: &str, name: &str) -> Result<(), SnapshotError> {
        self.remove_snapshot(volume, name)
    }
}

pub(crate) struct Context<'a> {
    volumes: &'a Volumes,
    /// Recovery only undoes, and writes nothing.
    filling: Option<RefCell<&'a mut Filling<'a>>>,
}

impl<'a> Context<'a> {
    pub(crate) fn for_recovery(volumes: &'a Volumes) -> Self {
        Self {
            volumes,
            filling: None,
        }
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Receive {
    snapshot: SnapshotId,
    volume: VolumeId,
    volume_name: String,
    driver: String,
    name: String,
    created_at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
}

impl Receive {
    fn holder(&self) -> String {
        format!("{OWN}receive-{}", self.snapshot)
    }
}

impl Operation for Receive {
    const KIND: &'static str = "snapshot-receive";
    const STEPS: &'static [(&'static str, Step)] = &[("write", Step::Write)];
    const COMMIT: Option<Step> = Some(Step::Write);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = SnapshotError;

    fn object(&self) -> &str {
        &self.volume_name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        tx.insert_lease(&self.volume, &self.holder(), "restore", false)?;
        Ok(tx.insert_snapshot(&SnapshotRow {
            id: self.snapshot.clone(),
            volume: self.volume.clone(),
            name: self.name.clone(),
            created_at: self.created_at.clone(),
            state: SnapshotState::Creating,
            labels: None,
            reason: RECEIVED.to_owned(),
            consistency: "none".to_owned(),
            group: None,
            expires_at: None,
            pinned: false,
            size: None,
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let Some(filling) = &context.filling else {
            return Ok(());
        };
        let volumes = context.volumes;
        let driver = volumes.tree_driver(&self.volume_name, &self.driver)?;
        let content = volumes.paths.volume_content(&self.volume);
        let tree = volumes.paths.snapshot(&self.volume, &self.snapshot);
        volumes.ensure_snapshots(&self.volume)?;
        driver.raise(&content, &tree)?;
        (filling.borrow_mut())(&tree).map_err(|source| VolumeError::Received {
            name: self.volume_name.clone(),
            source,
        })?;
        Ok(driver.settle(&tree, Access::Writable, Replica::Files { bytes: 0 })?)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        tx.delete_leases_of(&self.holder())?;
        Ok(tx.set_snapshot_state(&self.snapshot, SnapshotState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), SnapshotError> {
        let volumes = context.volumes;
        let tree = volumes.paths.snapshot(&self.volume, &self.snapshot);
        Ok(volumes
            .tree_driver(&self.volume_name, &self.driver)?
            .discard(&tree)?)
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), SnapshotError> {
        tx.delete_leases_of(&self.holder())?;
        Ok(tx.delete_snapshot(&self.snapshot)?)
    }
}

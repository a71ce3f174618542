//! Deletes a volume of the trash for good.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: the record leaves the trash; nobody can have the volume back any more
//! 2. `trash`: the directory moves to where operations delete, in one rename
//! 3. `delete`: it is deleted; with its record everything noted of the volume goes

use serde::{Deserialize, Serialize};
use store::journal::Operation;
use store::{OpId, VolumeId, WriteTx};

use crate::VolumeError;
use crate::create::Context;
use crate::remove::{delete_tree, forget, take_away};

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Purge {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Trash,
    Delete,
}

impl Operation for Purge {
    const KIND: &'static str = "volume-purge";
    const STEPS: &'static [(&'static str, Step)] =
        &[("trash", Step::Trash), ("delete", Step::Delete)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if tx.trashed(&self.id)?.is_none() {
            return Err(VolumeError::NotInTrash(self.name.clone()));
        }
        Ok(tx.delete_trashed(&self.id)?)
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Trash => take_away(context.paths, &self.id, op),
            Step::Delete => delete_tree(context, op),
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if step == Step::Delete {
            tx.delete_volume_notes(&self.id)?;
            forget(tx, &self.id)?;
        }
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, _context: &Context<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

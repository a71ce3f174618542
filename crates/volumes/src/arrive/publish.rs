//! `publish`: what has come is a volume.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `settle`: the content is synced, with its entry; the link by name
//! 3. commit, with step 2's record: row `ready`, protection and history as they were where it comes from; the arrival is
//!    complete. The description beside the content follows
//!
//! Before 3 the place is what it was, and can be gone on with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::Operation;
use store::{OpId, VolumeId, VolumeState, WriteTx};

use super::Luggage;
use crate::create::Context;
use crate::{VolumeError, link};

/// Events that are taken over at most; the store keeps no more of one volume.
const MOST_EVENTS: usize = 200;

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    id: VolumeId,
    name: String,
    luggage: Luggage,
}

impl Publish {
    pub(super) fn new(id: VolumeId, name: String, luggage: Luggage) -> Self {
        Self { id, name, luggage }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Settle,
}

impl Operation for Publish {
    const KIND: &'static str = "volume-publish";
    const STEPS: &'static [(&'static str, Step)] = &[("settle", Step::Settle)];
    const COMMIT: Option<Step> = Some(Step::Settle);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        tx.volume(&self.id)?
            .filter(|row| row.state == VolumeState::Creating && row.name == self.name)
            .map(drop)
            .ok_or_else(|| VolumeError::NotArriving(self.name.clone()))
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let content = context.paths.volume_content(&self.id);
        sys::durable::sync_tree(&content)
            .and_then(|()| sys::durable::sync_parent(&content))
            .map_err(VolumeError::io("sync", content))?;
        link::make(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "link",
            context.paths.volume_link(&self.name),
        ))
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        let luggage = &self.luggage;
        if luggage.protected {
            tx.set_volume_protected(&self.id, true)?;
        }
        let skipped = luggage.history.len().saturating_sub(MOST_EVENTS);
        for event in luggage.history.iter().skip(skipped) {
            tx.insert_volume_event(&self.id, &event.at, &event.action, &event.detail)?;
        }
        let now = Timestamp::now().to_string();
        let action = if luggage.moving { "move" } else { "copy" };
        let detail = format!("from {}", luggage.passport.name());
        tx.insert_volume_event(&self.id, &now, action, &detail)?;
        tx.set_arrived(&self.id, &now)?;
        Ok(tx.set_volume_state(&self.id, VolumeState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        link::remove(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "unlink",
            context.paths.volume_link(&self.name),
        ))
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }
}

//! Stages work at the same time, each in a thread of its own; one that needs another waits for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::notes::Ledger;
use super::stage::{Done, Stage};
use super::{Build, BuildError};

/// The stages that have ended.
#[derive(Debug, Default)]
pub(super) struct Slots {
    stages: Mutex<Vec<Option<Option<Arc<Done>>>>>,
    changed: Condvar,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self {
            stages: Mutex::new(vec![None; count]),
            changed: Condvar::new(),
        }
    }

    /// `None`: it failed.
    pub(super) fn set(&self, position: usize, done: Option<Arc<Done>>) {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)[position].get_or_insert(done);
        self.changed.notify_all();
    }

    pub(super) fn wait(&self, position: usize) -> Result<Arc<Done>, BuildError> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = self
            .changed
            .wait_while(stages, |stages| stages[position].is_none())
            .unwrap_or_else(PoisonError::into_inner);
        stages[position]
            .clone()
            .flatten()
            .ok_or(BuildError::Cancelled)
    }
}

/// Says that a stage has ended, whatever ended it.
struct Ending<'a, 'b> {
    build: &'a Build<'b>,
    position: usize,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.build.finished.set(self.position, None);
        self.build.desk.finished(self.position);
    }
}

impl<'b> Build<'b> {
    /// Step 3: every stage in its thread.
    pub(super) fn work(&'b self) {
        thread::scope(|scope| {
            for position in 0..self.plan.stages.len() {
                scope.spawn(move || {
                    let _ending = Ending {
                        build: self,
                        position,
                    };
                    if let Err(error) = self.stage(position) {
                        self.cancel_for(error);
                    }
                });
            }
        });
    }

    fn stage(&'b self, position: usize) -> Result<(), BuildError> {
        let mut stage = Stage::begin(self, position)?;
        let worked = stage.work();
        let done = stage.done();
        self.notes().ledgers.push(Ledger {
            blocks: done.blocks.clone(),
            records: std::mem::take(&mut stage.records),
        });
        worked?;
        self.finished.set(position, Some(Arc::new(done)));
        Ok(())
    }

    /// The first failure ends the others, and is the one that is told.
    fn cancel_for(&self, error: BuildError) {
        {
            let mut notes = self.notes();
            let told = notes.failure.as_ref();
            if told.is_none_or(|told| matches!(told, BuildError::Cancelled)) {
                notes.failure = Some(error);
            }
        }
        self.cancel.cancel();
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        Ok(())
    }
}

//! `pool rm`: ends a pool in which there is nothing.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: no volume lies in it, in the trash neither; row `removing`, the name is free
//! 2. `dismantle`: marker, mount or link, the engine's own file, `pools/<id>`; with its record the row goes
//!
//! A directory, a device and the filesystem on it stay.

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, PoolState, WriteTx};

use super::create::lock_name;
use super::{DEFAULT, Marker, PoolError};
use crate::{Volumes, held};

impl Volumes {
    /// Removes the pool `name`.
    ///
    /// # Errors
    /// [`PoolError::NotFound`], [`PoolError::InUse`], [`PoolError::IsDefault`], [`PoolError::Down`].
    pub fn remove_pool(&self, name: &str) -> Result<(), PoolError> {
        if name == DEFAULT {
            return Err(PoolError::StateDirectory(name.to_owned()));
        }
        let lock = self.name_lock(&lock_name(name));
        let _held = held(&lock);
        let row = self.pool_row(name)?;
        if self.pool(name)?.is_default {
            return Err(PoolError::IsDefault(name.to_owned()));
        }
        let volumes = self.store.read(|tx| tx.volumes_in_pool(&row.id))?;
        if volumes.is_empty() {
            // Of one that is not there nobody knows whether it is empty.
            self.must_be_up(&row)?;
            self.must_be_empty(&row)?;
        }
        let remove = Remove {
            row: Marker::of(&row),
        };
        journal::execute(&self.store, &remove, self)
    }

    /// Data that no record owns keeps a pool, too.
    fn must_be_empty(&self, row: &store::PoolRow) -> Result<(), PoolError> {
        let content = self.paths.pool_volumes(&row.id);
        let left: Vec<String> = std::fs::read_dir(&content)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(format!("{} (no volume's)", entry?.path().display())))
                    .collect()
            })
            .map_err(PoolError::io("list", &content))?;
        if left.is_empty() {
            return Ok(());
        }
        Err(PoolError::InUse {
            name: row.name.clone(),
            volumes: left,
        })
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Remove {
    row: Marker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Dismantle,
}

impl Operation for Remove {
    const KIND: &'static str = "pool-remove";
    const STEPS: &'static [(&'static str, Step)] = &[("dismantle", Step::Dismantle)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Volumes;
    type Error = PoolError;

    fn object(&self) -> &str {
        &self.row.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        let volumes = tx.volumes_in_pool(&self.row.id)?;
        if !volumes.is_empty() {
            return Err(PoolError::InUse {
                name: self.row.name.clone(),
                volumes,
            });
        }
        Ok(tx.set_pool_state(&self.row.id, PoolState::Removing)?)
    }

    fn run(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        volumes.dismantle_pool(&self.row.clone().row())
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(tx.delete_pool(&self.row.id)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, _volumes: &Volumes) -> Result<(), PoolError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), PoolError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

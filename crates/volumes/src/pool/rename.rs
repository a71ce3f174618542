//! `pool rename`: another name for a pool, also while its volumes are in use: nothing on disk is called after it.
//!
//! One transaction; the descriptions beside the data follow, at the next start if a crash comes between.

use store::names::is_name;

use super::create::lock_name;
use super::{DEFAULT, Pool, PoolError};
use crate::{Volumes, held};

impl Volumes {
    /// Renames `from` to `to`.
    ///
    /// # Errors
    /// [`PoolError::NotFound`], [`PoolError::Taken`], [`PoolError::Name`]; [`PoolError::StateDirectory`] of the one that has
    /// no record.
    pub fn rename_pool(&self, from: &str, to: &str) -> Result<Pool, PoolError> {
        if !is_name(to) {
            return Err(PoolError::Name(to.to_owned()));
        }
        if from == DEFAULT {
            return Err(PoolError::StateDirectory(from.to_owned()));
        }
        // Always in the same order: two renames crosswise must not wait for each other.
        let (first, second) = (from.min(to), from.max(to));
        let first = self.name_lock(&lock_name(first));
        let _first = held(&first);
        let second = (from != to).then(|| self.name_lock(&lock_name(second)));
        let _second = second.as_deref().map(held);
        let row = self.pool_row(from)?;
        if from == to {
            return self.pool(to);
        }
        self.store.write(|tx| {
            if to == DEFAULT || tx.pool_by_name(to)?.is_some() {
                return Err(PoolError::Taken(to.to_owned()));
            }
            Ok(tx.rename_pool(&row.id, to)?)
        })?;
        self.describe_pools();
        self.pool(to)
    }
}

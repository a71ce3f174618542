//! Forgetting backups, and giving back the space that only they used.
//!
//! Both hold an exclusive lock: nobody adds meanwhile what refers to something that is about to go. Forgetting removes records
//! only. Pruning first writes what is kept of packs that are cut up, then an index without the others, then removes: whatever
//! kills it leaves a repository in which every backup is whole, and at most packs that the next run removes. It can be stopped
//! until it removes what the index has; what it has written goes then.

use rustic_core::{Id, LimitOption};

use crate::error::BackupError;
use crate::format::Library;
use crate::lock::Lock;
use crate::place::{Kind, Name};
use crate::repository::{Repository, Watch};

/// How hard to prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneOptions {
    /// Unused space that may stay in packs that are partly used, in percent of what is used: less means more is written anew.
    pub max_unused_percent: u64,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            max_unused_percent: 5,
            dry_run: false,
        }
    }
}

/// What pruning did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    pub packs_removed: u64,
    pub packs_rewritten: u64,
    pub bytes_freed: u64,
    /// Of what stays.
    pub bytes_kept: u64,
}

impl Repository {
    /// Removes the records of these backups. The space is given back by [`Repository::prune`].
    ///
    /// # Errors
    /// [`BackupError::Locked`], [`BackupError::AppendOnly`]; those of the place, after some may have been removed.
    pub fn forget(&self, backups: &[Id]) -> Result<(), BackupError> {
        self.may_remove()?;
        let lock = self.lock_exclusive()?;
        for id in backups {
            self.storage.remove(Name::new(Kind::Snapshot, *id))?;
        }
        lock.release();
        Ok(())
    }

    /// Removes what no backup needs.
    ///
    /// # Errors
    /// [`BackupError::Locked`], [`BackupError::AppendOnly`], [`BackupError::StillNeeded`] and [`BackupError::Damaged`] when
    /// something that a backup needs is not there, [`BackupError::Stopped`]: nothing is removed then; those of the place.
    pub fn prune(&self, options: PruneOptions, watch: &dyn Watch) -> Result<Pruned, BackupError> {
        self.may_remove()?;
        let lock = self.lock_exclusive()?;
        // With a damaged record it is not known what is needed.
        self.snapshots()?;
        if !options.dry_run {
            self.set_aside_what_is_lost(watch)?;
            lock.still_held()?;
        }
        let library = Library::open(&self.storage, &self.key)?;
        let pruned = library
            .gate
            .watched_by(watch, || self.prune_with(&library, &lock, options, watch));
        if library.gate.is_shut() {
            self.take_back(&library.gate.written())?;
            return Err(BackupError::Stopped);
        }
        let pruned = pruned?;
        lock.release();
        Ok(pruned)
    }

    fn prune_with(
        &self,
        library: &Library,
        lock: &Lock<'_>,
        options: PruneOptions,
        watch: &dyn Watch,
    ) -> Result<Pruned, BackupError> {
        let plan_options = rustic_core::PruneOptions::default()
            .instant_delete(true)
            .no_resize(true)
            .max_repack(LimitOption::Unlimited)
            .max_unused(LimitOption::Percentage(options.max_unused_percent.min(99)));
        let plan = library
            .repository
            .prune_plan(&plan_options)
            .map_err(|error| library.meaning("pruning", &error))?;
        let size = plan.stats.size_sum();
        let pruned = Pruned {
            packs_removed: plan.stats.packs.unused + plan.stats.packs_unref,
            packs_rewritten: plan.stats.packs.repack,
            bytes_freed: size.remove + size.repackrm + plan.stats.size_unref,
            bytes_kept: size.total_after_prune(),
        };
        watch.total(size.repack);
        if !options.dry_run {
            lock.still_held()?;
            library
                .repository
                .prune(&plan_options, plan)
                .map_err(|error| library.meaning("pruning", &error))?;
            self.storage.sweep()?;
        }
        // What was cut up has another length than what came of it.
        watch.advance(size.repack.saturating_sub(library.gate.done()));
        Ok(pruned)
    }

    /// Removes what a prune that was stopped has written: nothing refers to packs once the index does not.
    fn take_back(&self, written: &[Name]) -> Result<(), BackupError> {
        let (index, packs): (Vec<Name>, Vec<Name>) =
            written.iter().partition(|name| name.kind == Kind::Index);
        for name in index.into_iter().chain(packs) {
            self.storage.remove(name)?;
        }
        Ok(())
    }
}

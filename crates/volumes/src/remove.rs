//! `remove`: a volume that nobody needs goes, into the trash ([`crate::trash`]) or for good; a plugin's by
//! [`crate::elsewhere`].
//!
//! Steps of the journaled operation that deletes it for good:
//! 1. begin, the commit point: no lease, no mount and no protection, row `removing`; the name is free and the data is
//!    given up
//! 2. `unlink`: the link by name goes
//! 3. `trash`: the directory moves to the trash, in one rename
//! 4. `delete`: the trash is deleted; with its record the row goes
//!
//! From 1 on a crash is completed, never undone. Everything is named by the volume's id, so a new volume of the same name
//! is not touched by a removal that is still under way.

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, Paths, Tx, VolumeId, VolumeRow, VolumeState, WriteTx};

use crate::create::Context;
use crate::{VolumeAction, VolumeError, Volumes, held, link, place};

/// What becomes of the data of a volume that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// It is kept in the trash for a while, if that is switched on; the word says why it is there.
    Trash(&'static str),
    /// It is deleted at once.
    Now,
}

impl Volumes {
    /// Removes the volume called `name`. `force` makes a missing one no error, and drops the record of one that its plugin
    /// does not remove; a volume in use is never removed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::ActiveMounts`], [`VolumeError::Protected`],
    /// [`VolumeError::Plugin`].
    pub fn remove(&self, name: &str, force: bool) -> Result<(), VolumeError> {
        self.dispose(name, force, Disposal::Trash("rm"))
    }

    /// [`Volumes::remove`] with a choice of what becomes of the data.
    ///
    /// # Errors
    /// As [`Volumes::remove`].
    pub fn dispose(&self, name: &str, force: bool, disposal: Disposal) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        match self.row_or_found(name) {
            Ok(row) => match self.plugin(&row.driver) {
                Some(plugin) => self.withdraw(&row, &plugin, force),
                None => self.remove_row(&row, disposal),
            },
            Err(VolumeError::NotFound(_)) if force => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes an anonymous volume unless somebody uses or protects it; whether it did.
    ///
    /// # Errors
    /// As [`Volumes::remove`], but use and protection are no errors.
    pub fn remove_anonymous_if_unused(&self, name: &str) -> Result<bool, VolumeError> {
        self.dispose_if_unused(name, Disposal::Trash("container"))
    }

    /// Deletes an anonymous volume that was made for a container which never came to be; whether it did.
    ///
    /// # Errors
    /// As [`Volumes::remove_anonymous_if_unused`].
    pub fn discard_anonymous_if_unused(&self, name: &str) -> Result<bool, VolumeError> {
        self.dispose_if_unused(name, Disposal::Now)
    }

    fn dispose_if_unused(&self, name: &str, disposal: Disposal) -> Result<bool, VolumeError> {
        match self.dispose(name, true, disposal) {
            Ok(()) => Ok(true),
            Err(VolumeError::InUse { .. } | VolumeError::Protected(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The caller holds the name's lock.
    pub(crate) fn remove_row(
        &self,
        row: &VolumeRow,
        disposal: Disposal,
    ) -> Result<(), VolumeError> {
        let directory = self.paths.volume(&row.id);
        if let Some(pool) = self.down_pool_of(&row.id)? {
            return Err(VolumeError::PoolDown {
                name: row.name.clone(),
                pool,
            });
        }
        let mounted = place::own_mounts(&directory)?.is_none();
        if mounted && self.store.read(|tx| tx.lease_holders(&row.id))?.is_empty() {
            return Err(VolumeError::ActiveMounts(row.name.clone()));
        }
        if let Disposal::Trash(reason) = disposal {
            let grace = self.trash_policy()?.grace;
            if grace > 0 && self.has_data(row)? {
                return self.put_into_trash(row, reason, grace, &[]);
            }
        }
        let remove = Remove {
            id: row.id.clone(),
            name: row.name.clone(),
        };
        journal::execute(&self.store, &remove, &self.context())?;
        self.publish(&row.name, &row.driver, VolumeAction::Destroy);
        Ok(())
    }
}

/// Refuses while somebody needs the volume.
pub(crate) fn may_go(tx: &Tx<'_>, id: &VolumeId, name: &str) -> Result<(), VolumeError> {
    let holders = tx.lease_holders(id)?;
    if !holders.is_empty() {
        return Err(VolumeError::InUse {
            name: name.to_owned(),
            holders,
        });
    }
    let is_mounted_elsewhere = tx.plugin_mounts_of(id)?.iter().any(|mount| mount.uses > 0);
    if tx.mount_uses(id)? > 0 || is_mounted_elsewhere {
        return Err(VolumeError::ActiveMounts(name.to_owned()));
    }
    if tx.volume_notes(id)?.protected {
        return Err(VolumeError::Protected(name.to_owned()));
    }
    Ok(())
}

/// Moves a volume's directory to where `op` deletes. Idempotent.
pub(crate) fn take_away(paths: &Paths, id: &VolumeId, op: &OpId) -> Result<(), VolumeError> {
    place::take_mounts_down(&paths.volume(id))?;
    let directory = paths.volume_entry(id);
    match sys::durable::rename_sync(&directory, &paths.trash(op)) {
        // Moved by the attempt that a crash cut short.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(VolumeError::io("move to the trash", directory)),
    }
}

/// Deletes what [`take_away`] moved. Idempotent.
pub(crate) fn delete_tree(context: &Context<'_>, op: &OpId) -> Result<(), VolumeError> {
    place::delete(context.paths, context.drivers, &context.paths.trash(op))
}

/// Forgets what refers to a volume whose bytes are gone, its snapshots among it.
pub(crate) fn forget(tx: &WriteTx<'_>, id: &VolumeId) -> Result<(), VolumeError> {
    tx.forget_snapshots_of(id)?;
    tx.delete_arrival(id)?;
    Ok(tx.delete_schedule(id)?)
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Remove {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Unlink,
    Trash,
    Delete,
}

impl Operation for Remove {
    const KIND: &'static str = "volume-remove";
    const STEPS: &'static [(&'static str, Step)] = &[
        ("unlink", Step::Unlink),
        ("trash", Step::Trash),
        ("delete", Step::Delete),
    ];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        may_go(tx, &self.id, &self.name)?;
        Ok(tx.set_volume_state(&self.id, VolumeState::Removing)?)
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let paths = context.paths;
        match step {
            Step::Unlink => link::remove(paths, &self.name, &self.id)
                .map_err(VolumeError::io("unlink", paths.volume_link(&self.name))),
            Step::Trash => take_away(paths, &self.id, op),
            Step::Delete => delete_tree(context, op),
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if step == Step::Delete {
            tx.delete_volume(&self.id)?;
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

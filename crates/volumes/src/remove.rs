//! `remove`: deletes a volume that nobody needs.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: no lease and no mount exists, row `removing`; the name is free and the data is given up
//! 2. `unlink`: the link by name goes
//! 3. `trash`: the directory moves to the trash, in one rename
//! 4. `delete`: the trash is deleted; with its record the row goes
//!
//! From 1 on a crash is completed, never undone. Everything is named by the volume's id, so a new volume of the same name
//! is not touched by a removal that is still under way.

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, VolumeId, VolumeRow, VolumeState, WriteTx};

use crate::create::Context;
use crate::{VolumeAction, VolumeError, Volumes, held, link, mount_table};

impl Volumes {
    /// Deletes the volume called `name`. `force` only makes a missing one no error; a volume in use is never removed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::ActiveMounts`].
    pub fn remove(&self, name: &str, force: bool) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        match self.row(name) {
            Ok(row) => self.remove_row(&row),
            Err(VolumeError::NotFound(_)) if force => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes an anonymous volume unless somebody uses it; whether it did.
    ///
    /// # Errors
    /// As [`Volumes::remove`], but use is no error.
    pub fn remove_anonymous_if_unused(&self, name: &str) -> Result<bool, VolumeError> {
        match self.remove(name, true) {
            Ok(()) => Ok(true),
            Err(VolumeError::InUse { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The caller holds the name's lock.
    pub(crate) fn remove_row(&self, row: &VolumeRow) -> Result<(), VolumeError> {
        let content = self.paths.volume_content(&row.id);
        let mounted = mount_table::any_below(&content)
            .map_err(VolumeError::io("look for mounts below", &content))?;
        if mounted && self.store.read(|tx| tx.lease_holders(&row.id))?.is_empty() {
            return Err(VolumeError::ActiveMounts(row.name.clone()));
        }
        let remove = Remove {
            id: row.id.clone(),
            name: row.name.clone(),
        };
        journal::execute(
            &self.store,
            &remove,
            &Context {
                paths: &self.paths,
                drivers: &self.drivers,
            },
        )?;
        self.publish(&row.name, &row.driver, VolumeAction::Destroy);
        Ok(())
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Remove {
    id: VolumeId,
    name: String,
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
        let holders = tx.lease_holders(&self.id)?;
        if !holders.is_empty() {
            return Err(VolumeError::InUse {
                name: self.name.clone(),
                holders,
            });
        }
        if tx.mount_uses(&self.id)? > 0 {
            return Err(VolumeError::ActiveMounts(self.name.clone()));
        }
        Ok(tx.set_volume_state(&self.id, VolumeState::Removing)?)
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let paths = context.paths;
        let (directory, trash) = (paths.volume(&self.id), paths.trash(op));
        match step {
            Step::Unlink => link::remove(paths, &self.name, &self.id)
                .map_err(VolumeError::io("unlink", paths.volume_link(&self.name))),
            Step::Trash => match sys::durable::rename_sync(&directory, &trash) {
                // Moved by the attempt that a crash cut short.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                result => result.map_err(VolumeError::io("move to the trash", directory)),
            },
            Step::Delete => match sys::dir::remove_tree(&trash) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                result => result.map_err(VolumeError::io("delete", trash)),
            },
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if step == Step::Delete {
            tx.delete_volume(&self.id)?;
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

//! `undelete`: a volume comes back from the trash with its bytes, labels and history, under its old name or another.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: the name is free and taken, the record is a volume's again
//! 2. `link`: the link by name is made, and the volume's description beside its data written anew

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, VolumeId, WriteTx};

use crate::create::Context;
use crate::{Volume, VolumeAction, VolumeError, Volumes, description, held, link};

impl Volumes {
    /// Takes a volume out of the trash. `reference` is its old name, of which the newest is meant, or the beginning of
    /// its id; `name` a new name for it.
    ///
    /// # Errors
    /// [`VolumeError::NotInTrash`], [`VolumeError::NameTaken`], [`VolumeError::Name`].
    pub fn undelete(&self, reference: &str, name: Option<&str>) -> Result<Volume, VolumeError> {
        let row = self.find_trashed(reference)?.volume;
        let name = name.unwrap_or(&row.name).to_owned();
        VolumeError::check_name(&name)?;
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        let undelete = Undelete {
            id: row.id.clone(),
            name: name.clone(),
        };
        journal::execute(&self.store, &undelete, &self.context())?;
        self.publish(&name, &row.driver, VolumeAction::Create);
        self.get(&name)
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undelete {
    id: VolumeId,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Link,
}

impl Operation for Undelete {
    const KIND: &'static str = "volume-undelete";
    const STEPS: &'static [(&'static str, Step)] = &[("link", Step::Link)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        let mut row = tx
            .trashed(&self.id)?
            .ok_or_else(|| VolumeError::NotInTrash(self.name.clone()))?
            .volume;
        if tx.volume_by_name(&self.name)?.is_some() {
            return Err(VolumeError::NameTaken(self.name.clone()));
        }
        let was = std::mem::replace(&mut row.name, self.name.clone());
        tx.delete_trashed(&self.id)?;
        tx.insert_volume(&row)?;
        let detail = if was == self.name {
            String::new()
        } else {
            format!("was {was}")
        };
        let now = Timestamp::now().to_string();
        Ok(tx.insert_volume_event(&self.id, &now, "undelete", &detail)?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        link::make(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "link",
            context.paths.volume_link(&self.name),
        ))?;
        let row = context.store.read(|tx| tx.volume(&self.id))?;
        if let Some(driver) = row.and_then(|row| context.drivers.find(&row.driver)) {
            let content = context.paths.volume_content(&self.id);
            driver
                .expose(&content)
                .map_err(|reason| VolumeError::Mount {
                    path: content,
                    reason,
                })?;
        }
        description::write(context, &self.id)
    }

    fn record(&self, _step: Step, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, _context: &Context<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

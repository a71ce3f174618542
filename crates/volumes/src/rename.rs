//! `rename`: another name for a volume, also for one that is in use: what is mounted does not know its name.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: the new name is free and taken, the old one free; holders' records follow in the same
//!    transaction
//! 2. `link`: the link by the old name goes, the one by the new name is made, the description beside the data written

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, StoreError, VolumeId, VolumeState, WriteTx};

use crate::create::Context;
use crate::{Volume, VolumeAction, VolumeError, Volumes, description, held, link};

/// What holders record of a volume's name, changed in the transaction that renames it.
pub type Follow<'a> = &'a dyn Fn(&WriteTx<'_>) -> Result<(), StoreError>;

impl Volumes {
    /// Renames `from` to `to`. `follow` is called in the transaction of the rename.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::NameTaken`], [`VolumeError::Name`], [`VolumeError::Elsewhere`].
    pub fn rename(&self, from: &str, to: &str, follow: Follow<'_>) -> Result<Volume, VolumeError> {
        VolumeError::check_name(to)?;
        if from == to {
            return self.get(from);
        }
        // Always in the same order: two renames crosswise must not wait for each other.
        let (first, second) = (from.min(to), from.max(to));
        let (first, second) = (self.name_lock(first), self.name_lock(second));
        let (_first, _second) = (held(&first), held(&second));
        let row = self.row(from)?;
        self.must_be_here(&row.name, &row.driver, "renamed")?;
        let rename = Rename {
            id: row.id,
            from: from.to_owned(),
            to: to.to_owned(),
            follow: Some(Hook(follow)),
        };
        journal::execute(&self.store, &rename, &self.context())?;
        let action = VolumeAction::Rename {
            from: from.to_owned(),
        };
        self.publish(to, &row.driver, action);
        self.get(to)
    }
}

#[derive(Clone, Copy)]
struct Hook<'a>(Follow<'a>);

impl fmt::Debug for Hook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rename<'a> {
    id: VolumeId,
    from: String,
    to: String,
    /// Only for the beginning, which recovery never repeats.
    #[serde(skip)]
    follow: Option<Hook<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Link,
}

impl Operation for Rename<'_> {
    const KIND: &'static str = "volume-rename";
    const STEPS: &'static [(&'static str, Step)] = &[("link", Step::Link)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.to
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if tx
            .volume(&self.id)?
            .is_none_or(|row| row.state != VolumeState::Ready)
        {
            return Err(VolumeError::NotFound(self.from.clone()));
        }
        if tx.volume_by_name(&self.to)?.is_some() {
            return Err(VolumeError::NameTaken(self.to.clone()));
        }
        tx.rename_volume(&self.id, &self.to)?;
        if let Some(Hook(follow)) = self.follow {
            follow(tx)?;
        }
        let now = Timestamp::now().to_string();
        let detail = format!("{} to {}", self.from, self.to);
        Ok(tx.insert_volume_event(&self.id, &now, "rename", &detail)?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let paths = context.paths;
        link::remove(paths, &self.from, &self.id)
            .map_err(VolumeError::io("unlink", paths.volume_link(&self.from)))?;
        link::make(paths, &self.to, &self.id)
            .map_err(VolumeError::io("link", paths.volume_link(&self.to)))?;
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

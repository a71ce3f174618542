//! `adopt`: a directory in `data/` that no record owns becomes a volume again, by its description or under a new name.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: the name is free and taken, the record is there
//! 2. `link`: the link by name and the description are made

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, VolumeId, VolumeRow, VolumeState, WriteTx};

use crate::create::Context;
use crate::description::{self, Description};
use crate::{Volume, VolumeAction, VolumeError, Volumes, held, link, place};

impl Volumes {
    /// The id of a directory in `data`: by that, by its path there, or by its path in a pool, to which there is a link in `data` then.
    ///
    /// # Errors
    /// [`VolumeError::Store`]; a link that cannot be made.
    pub fn id_of_directory(&self, directory: &str) -> Result<Option<VolumeId>, VolumeError> {
        if let Some(id) = VolumeId::parse(directory.trim_end_matches('/')) {
            return Ok(Some(id));
        }
        let path = Path::new(directory);
        let id = path
            .file_name()
            .and_then(|name| VolumeId::parse(name.to_str()?));
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        let (Some(id), Some(parent)) = (id, parent) else {
            return Ok(None);
        };
        if parent == self.paths.data() {
            return Ok(Some(id));
        }
        for pool in self.store.read(|tx| tx.pools())? {
            let volumes = self.paths.pool_volumes(&pool.id).canonicalize();
            if self.is_up_pool(&pool.id) && volumes.is_ok_and(|volumes| volumes == parent) {
                // As each start makes it.
                if self.paths.volume_entry(&id).symlink_metadata().is_err() {
                    place::link(&self.paths, &id, Some(&pool.id))?;
                }
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Makes a volume of `data/<id>`. `name` goes before the name in its description; without either its id is its name.
    ///
    /// # Errors
    /// [`VolumeError::NotOrphan`] when a record has it or nothing is there, [`VolumeError::NameTaken`],
    /// [`VolumeError::Name`].
    pub fn adopt(&self, id: &VolumeId, name: Option<&str>) -> Result<Volume, VolumeError> {
        if !self.paths.volume_content(id).is_dir() {
            return Err(VolumeError::NotOrphan(id.to_string()));
        }
        let described = description::read(&self.paths, id);
        let entry = std::fs::read_link(self.paths.volume_entry(id)).ok();
        let home = entry.and_then(|target| self.paths.home_of_target(&target));
        let name = name
            .map(str::to_owned)
            .or_else(|| described.as_ref().map(|described| described.name.clone()))
            .unwrap_or_else(|| id.to_string());
        VolumeError::check_name(&name)?;
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        let adopt = Adopt {
            description: described.unwrap_or_else(|| Description {
                pool: home.map(|(pool, _)| pool),
                ..Description::plain(id.clone())
            }),
            name: name.clone(),
        };
        journal::execute(&self.store, &adopt, &self.context())?;
        let volume = self.get(&name)?;
        self.publish(&name, &volume.driver, VolumeAction::Create);
        Ok(volume)
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Adopt {
    description: Description,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Link,
}

impl Operation for Adopt {
    const KIND: &'static str = "volume-adopt";
    const STEPS: &'static [(&'static str, Step)] = &[("link", Step::Link)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        let id = &self.description.id;
        if tx.volume(id)?.is_some() || tx.trashed(id)?.is_some() {
            return Err(VolumeError::NotOrphan(id.to_string()));
        }
        if tx.volume_by_name(&self.name)?.is_some() {
            return Err(VolumeError::NameTaken(self.name.clone()));
        }
        tx.insert_volume(&VolumeRow {
            name: self.name.clone(),
            ..self.description.row()
        })?;
        self.description.record_rest(tx)?;
        Ok(tx.insert_volume_event(id, &Timestamp::now().to_string(), "adopt", "")?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let id = &self.description.id;
        link::make(context.paths, &self.name, id).map_err(VolumeError::io(
            "link",
            context.paths.volume_link(&self.name),
        ))?;
        description::write(context, id)
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

impl Description {
    /// Of a directory that has none.
    fn plain(id: VolumeId) -> Self {
        let row = VolumeRow {
            name: id.to_string(),
            id,
            driver: crate::driver::DEFAULT.to_owned(),
            options: None,
            labels: None,
            anonymous: false,
            state: VolumeState::Ready,
            created_at: Timestamp::now().to_string(),
        };
        Self::new(row, &store::VolumeNotes::default())
    }
}

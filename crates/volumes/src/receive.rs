//! `receive`: a new volume whose first content the caller writes before anybody sees it.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the name is taken
//! 2. `build`: as `create` does it
//! 3. `fill`: the caller writes the content, bound by the volume's limits; it is synced
//! 4. commit, with step 3's record: row `ready`, and with it what else the caller wants to be so from the beginning
//!
//! Before 4 everything is undone: nobody has seen the volume, and what was written is a copy of something.

use std::cell::RefCell;
use std::error::Error;
use std::path::Path;
use std::sync::MutexGuard;

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, WriteTx};

use crate::create::{self, Create};
use crate::driver::{Access, DEFAULT, Replica};
use crate::{
    CreateVolume, Volume, VolumeAction, VolumeError, Volumes, description, held, link, place,
};

/// What a received volume is from the moment at which it is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Received {
    pub protected: bool,
    /// What its history says beside its creation: action and detail.
    pub event: Option<(String, String)>,
    /// RFC 3339, of one that was made before; `None`: now.
    pub created_at: Option<String>,
    /// Who needs it, as by [`Volumes::lease`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// Writes a content into an empty directory that it is given. The error is handed back as it is.
pub type Filling<'a> = dyn FnMut(&Path) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

impl Volumes {
    /// Makes a volume of the local driver with what `filling` writes. The name is taken from the beginning; nobody who
    /// wants it waits for the content.
    ///
    /// # Errors
    /// [`VolumeError::NameTaken`], [`VolumeError::Received`] with what `filling` returned, those of
    /// [`Volumes::create`]. Nothing is left then.
    pub fn receive(
        &self,
        request: CreateVolume,
        received: Received,
        filling: &mut Filling<'_>,
    ) -> Result<Volume, VolumeError> {
        let name = request.name.unwrap_or_default();
        let lock = self.name_lock(&name);
        let held = held(&lock);
        let mut create = self.planned(
            name,
            DEFAULT.to_owned(),
            request.options,
            request.labels,
            false,
        )?;
        create.created_at.clone_from(&received.created_at);
        let receive = Receive { create, received };
        let context = Context {
            volumes: self,
            filling: Some(RefCell::new(filling)),
            lock: RefCell::new(Some(held)),
        };
        journal::execute(&self.store, &receive, &context)?;
        let row = self.row(&receive.create.name)?;
        self.describe(&row.id);
        self.publish(&row.name, &row.driver, VolumeAction::Create);
        self.ring_limits();
        Ok(self.shown(row))
    }
}

pub(crate) struct Context<'a> {
    pub(crate) volumes: &'a Volumes,
    /// Recovery only undoes, and writes nothing.
    filling: Option<RefCell<&'a mut Filling<'a>>>,
    /// Of the name, until the record says that it is taken.
    lock: RefCell<Option<MutexGuard<'a, ()>>>,
}

impl<'a> Context<'a> {
    pub(crate) fn for_recovery(volumes: &'a Volumes) -> Self {
        Self {
            volumes,
            filling: None,
            lock: RefCell::new(None),
        }
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Receive {
    #[serde(flatten)]
    create: Create,
    #[serde(default)]
    received: Received,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Build,
    Fill,
}

impl Receive {
    fn fill(&self, context: &Context<'_>) -> Result<(), VolumeError> {
        let volumes = context.volumes;
        let content = volumes.paths.volume_content(self.create.id());
        let Some(filling) = &context.filling else {
            return Ok(());
        };
        // With it, ext4 would let us write beyond the volume's limit.
        let bounded = sys::capability::bit("CAP_SYS_RESOURCE").unwrap_or_default();
        let bounded = sys::capability::without(bounded).map_err(VolumeError::io(
            "be bound by the limit of",
            &self.create.name,
        ))?;
        (filling.borrow_mut())(&content).map_err(|source| VolumeError::Received {
            name: self.create.name.clone(),
            source,
        })?;
        drop(bounded);
        self.with_driver(volumes, |driver| {
            driver.settle(&content, Access::Writable, Replica::Files { bytes: 0 })
        })
    }

    fn with_driver(
        &self,
        volumes: &Volumes,
        act: impl FnOnce(&dyn crate::Driver) -> Result<(), crate::DriverError>,
    ) -> Result<(), VolumeError> {
        let Some(driver) = volumes.drivers.find(&self.create.driver) else {
            return Ok(());
        };
        act(driver).map_err(|reason| VolumeError::Options {
            name: self.create.name.clone(),
            reason,
        })
    }
}

impl Operation for Receive {
    const KIND: &'static str = "volume-receive";
    const STEPS: &'static [(&'static str, Step)] = &[("build", Step::Build), ("fill", Step::Fill)];
    const COMMIT: Option<Step> = Some(Step::Fill);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.create.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if tx.volume_by_name(&self.create.name)?.is_some() {
            return Err(VolumeError::NameTaken(self.create.name.clone()));
        }
        self.create.begin(tx)
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Build => {
                self.create
                    .run(create::Step::Build, op, &context.volumes.context())?;
                context.lock.take();
                Ok(())
            }
            Step::Fill => self.fill(context),
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Build => Ok(()),
            Step::Fill => {
                self.create.record(create::Step::Build, tx)?;
                let id = self.create.id();
                if self.received.protected {
                    tx.set_volume_protected(id, true)?;
                }
                if let Some((action, detail)) = &self.received.event {
                    let now = jiff::Timestamp::now().to_string();
                    tx.insert_volume_event(id, &now, action, detail)?;
                }
                if let Some(holder) = &self.received.holder {
                    tx.insert_lease(id, holder, "", false)?;
                }
                Ok(())
            }
        }
    }

    fn undo(&self, step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        if step == Step::Fill {
            return Ok(());
        }
        let volumes = context.volumes;
        let paths = &volumes.paths;
        let (id, pool) = (self.create.id(), self.create.pool());
        link::remove(paths, &self.create.name, id).map_err(VolumeError::io(
            "unlink",
            paths.volume_link(&self.create.name),
        ))?;
        let home = paths.volume_home(id, pool);
        description::remove(&home)?;
        self.with_driver(volumes, |driver| {
            driver.discard(&paths.volume_home_content(id, pool))?;
            driver.discard(&home)
        })?;
        place::unlink(paths, id, pool)
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        self.create.abandon(tx)
    }
}

/// What a filling of this crate's own returned is one of its errors.
pub(crate) fn own(error: VolumeError) -> VolumeError {
    match error {
        VolumeError::Received { name, source } => source
            .downcast::<VolumeError>()
            .map_or_else(|source| VolumeError::Received { name, source }, |own| *own),
        other => other,
    }
}

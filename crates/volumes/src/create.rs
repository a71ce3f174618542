//! `create`: a new, empty volume, or the one that has the name already.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the name is taken
//! 2. `build`: the driver makes the volume's directory with `_data`, in `data` or in a pool; then there is a link to it in
//!    `data`; durable up to that entry; the description beside the content; the link by name
//! 3. commit, with step 2's record: row `ready`
//!
//! Before 3 everything is undone: nobody has seen the volume, so nothing of a user's can be in it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::names::anonymous_volume_name;
use store::{OpId, Paths, PoolId, StorageRow, Store, VolumeId, VolumeRow, VolumeState, WriteTx};

use crate::driver::{Drivers, Options, Place};
use crate::{Volume, VolumeAction, VolumeError, Volumes, description, held, link, place};

/// Label of volumes whose name nobody chose; `prune` looks for it, as Docker's does.
pub(crate) const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// What a new volume shall be.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// `None`: a made-up name of 64 hexadecimal digits.
    pub name: Option<String>,
    /// `None`: whichever driver has a volume of that name, else the local one.
    pub driver: Option<String>,
    pub options: Options,
    pub labels: BTreeMap<String, String>,
    /// Made without a name for a container.
    pub anonymous: bool,
}

/// A volume, and whether this call made it.
#[derive(Debug, Clone)]
pub struct Created {
    pub volume: Volume,
    pub fresh: bool,
}

impl Volumes {
    /// Makes a volume; idempotent by name, whatever the options of the existing one.
    ///
    /// # Errors
    /// [`VolumeError::Name`], [`VolumeError::UnknownDriver`], [`VolumeError::DriverConflict`],
    /// [`VolumeError::Options`], and what the disk says. Nothing is left of a create that failed.
    pub fn create(&self, request: CreateVolume) -> Result<Created, VolumeError> {
        let nameless = request.name.as_ref().is_none_or(String::is_empty);
        let name = request
            .name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(anonymous_volume_name);
        VolumeError::check_name(&name)?;
        let driver_name = request.driver.filter(|driver| !driver.is_empty());
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        if let Some(row) = self.store.read(|tx| tx.volume_by_name(&name))? {
            if row.state == VolumeState::Creating {
                return Err(VolumeError::Unfinished(name));
            }
            return match driver_name {
                Some(wanted) if wanted != row.driver => Err(VolumeError::DriverConflict {
                    name,
                    driver: row.driver,
                }),
                _ => Ok(Created {
                    volume: self.shown(row),
                    fresh: false,
                }),
            };
        }
        let driver_name = driver_name.unwrap_or_else(|| crate::driver::DEFAULT.to_owned());
        let driver = self
            .drivers
            .find(&driver_name)
            .ok_or_else(|| VolumeError::UnknownDriver {
                name: name.clone(),
                driver: driver_name.clone(),
            })?;
        driver
            .check(&request.options)
            .map_err(|reason| VolumeError::Options {
                name: name.clone(),
                reason,
            })?;
        let requested =
            driver
                .requested(&request.options)
                .map_err(|reason| VolumeError::Options {
                    name: name.clone(),
                    reason,
                })?;
        let pool = if requested.placeable {
            let pool = request.options.get("pool").map(String::as_str);
            self.pool_for(pool).map_err(|reason| VolumeError::Pool {
                name: name.clone(),
                reason: Box::new(reason),
            })?
        } else {
            None
        };
        let mut labels = request.labels;
        if nameless || request.anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        let create = Create {
            id: VolumeId::random(),
            name,
            driver: driver_name,
            options: request.options,
            labels,
            anonymous: request.anonymous || nameless,
            pool,
            bytes: requested.limits.bytes,
            inodes: requested.limits.inodes,
            soft_bytes: requested.soft_bytes,
        };
        journal::execute(&self.store, &create, &self.context())?;
        let row = self.row(&create.name)?;
        self.publish(&row.name, &row.driver, VolumeAction::Create);
        if create.soft_bytes.is_some() {
            self.ring_limits();
        }
        Ok(Created {
            volume: self.shown(row),
            fresh: true,
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            paths: &self.paths,
            drivers: &self.drivers,
        }
    }

    pub(crate) fn shown(&self, row: VolumeRow) -> Volume {
        Volume::new(row, &self.paths, &self.drivers)
    }
}

/// What the steps of operations work with.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) paths: &'a Paths,
    pub(crate) drivers: &'a Drivers,
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Create {
    id: VolumeId,
    name: String,
    driver: String,
    options: Options,
    labels: BTreeMap<String, String>,
    anonymous: bool,
    #[serde(default)]
    pool: Option<PoolId>,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    inodes: Option<u64>,
    #[serde(default)]
    soft_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Build,
}

impl Create {
    fn with_driver<T>(
        &self,
        context: &Context<'_>,
        act: impl FnOnce(&dyn crate::driver::Driver, Place<'_>) -> Result<T, crate::driver::DriverError>,
    ) -> Result<T, VolumeError> {
        let driver =
            context
                .drivers
                .find(&self.driver)
                .ok_or_else(|| VolumeError::UnknownDriver {
                    name: self.name.clone(),
                    driver: self.driver.clone(),
                })?;
        let pool = self.pool.as_ref();
        let (directory, content) = (
            context.paths.volume_home(&self.id, pool),
            context.paths.volume_home_content(&self.id, pool),
        );
        let mountpoint = context.paths.mountpoint(&self.name);
        let place = Place {
            directory: &directory,
            content: &content,
            mountpoint: &mountpoint,
            options: &self.options,
        };
        act(driver, place).map_err(|reason| VolumeError::Options {
            name: self.name.clone(),
            reason,
        })
    }
}

impl Operation for Create {
    const KIND: &'static str = "volume-create";
    const STEPS: &'static [(&'static str, Step)] = &[("build", Step::Build)];
    const COMMIT: Option<Step> = Some(Step::Build);
    // Recovery removes an empty directory that nobody knows.
    const BEGINS_SOON: bool = true;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
        let now = Timestamp::now();
        let storage = StorageRow {
            pool: self.pool.clone(),
            bytes: self.bytes,
            inodes: self.inodes,
            soft_bytes: self.soft_bytes,
            soft_crossed: false,
        };
        if storage != StorageRow::default() {
            tx.set_volume_storage(&self.id, &storage)?;
        }
        Ok(tx.insert_volume(&VolumeRow {
            id: self.id.clone(),
            name: self.name.clone(),
            driver: self.driver.clone(),
            options: some(&self.options),
            labels: some(&self.labels),
            anonymous: self.anonymous,
            state: VolumeState::Creating,
            // Whole seconds, as Docker shows them.
            created_at: Timestamp::from_second(now.as_second())
                .unwrap_or(now)
                .to_string(),
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        self.with_driver(context, |driver, place| driver.build(place))?;
        place::link(context.paths, &self.id, self.pool.as_ref())?;
        description::begin(context, &self.id)?;
        let data = context.paths.data();
        sys::durable::sync_dir(&data).map_err(VolumeError::io("sync", data))?;
        link::make(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "link",
            context.paths.volume_link(&self.name),
        ))
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        tx.insert_volume_event(&self.id, &Timestamp::now().to_string(), "create", "")?;
        Ok(tx.set_volume_state(&self.id, VolumeState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        link::remove(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "unlink",
            context.paths.volume_link(&self.name),
        ))?;
        description::remove(&context.paths.volume_home(&self.id, self.pool.as_ref()))?;
        self.with_driver(context, |driver, place| driver.unbuild(place))?;
        place::unlink(context.paths, &self.id, self.pool.as_ref())
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(tx.delete_volume(&self.id)?)
    }
}

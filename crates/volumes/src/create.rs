//! `create`: a new, empty volume, or the one that has the name already.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the name is taken
//! 2. `build`: the driver makes the volume's directory with `_data`, in `data` or in a pool; then there is a link to it in
//!    `data`; durable up to that entry; the description beside the content; the link by name. If a plugin is to keep the
//!    bytes: the directory with the description, then the plugin makes the volume, last of all
//! 3. commit, with step 2's record: row `ready`
//!
//! Before 3 everything is undone: nobody has seen the volume, so nothing of a user's can be in it. What a plugin has made
//! stays with it; the next create of that name finds it there.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::names::anonymous_volume_name;
use store::{OpId, Paths, PoolId, StorageRow, Store, VolumeId, VolumeRow, VolumeState, WriteTx};
use volume_plugins::Plugins;

use crate::driver::{Driver, DriverError, Drivers, Options, Place, Requested};
use crate::{
    Volume, VolumeAction, VolumeError, Volumes, description, elsewhere, held, link, place,
};

/// Label of volumes whose name nobody chose; `prune` looks for it, as Docker's does.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

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
    /// [`VolumeError::Name`], [`VolumeError::Plugin`], [`VolumeError::DriverConflict`], [`VolumeError::Options`],
    /// [`VolumeError::Reference`], [`VolumeError::Vanished`], and what the disk says. Nothing is left of a create that failed.
    pub fn create(&self, request: CreateVolume) -> Result<Created, VolumeError> {
        let nameless = request.name.as_ref().is_none_or(String::is_empty);
        let name = request
            .name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(anonymous_volume_name);
        let driver_name = request.driver.filter(|driver| !driver.is_empty());
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        if let Some(row) = self.store.read(|tx| tx.volume_by_name(&name))? {
            if row.state == VolumeState::Creating {
                return Err(VolumeError::Unfinished(name));
            }
            if driver_name
                .as_ref()
                .is_some_and(|wanted| *wanted != row.driver)
            {
                return Err(VolumeError::DriverConflict {
                    name,
                    driver: row.driver,
                });
            }
            if self.is_still_there(&row)? {
                return Ok(Created {
                    volume: self.shown(row),
                    fresh: false,
                });
            }
        }
        let driver_name = driver_name
            .or_else(|| Some(self.probe(&name)?.0.name().to_owned()))
            .unwrap_or_else(|| crate::driver::DEFAULT.to_owned());
        let create = self.planned(
            name,
            driver_name,
            request.options,
            request.labels,
            nameless || request.anonymous,
        )?;
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

    /// The operation that makes such a volume, once its name and options are found fit.
    pub(crate) fn planned(
        &self,
        name: String,
        driver: String,
        options: Options,
        mut labels: BTreeMap<String, String>,
        anonymous: bool,
    ) -> Result<Create, VolumeError> {
        let requested = match self.drivers.find(&driver) {
            Some(driver) => {
                VolumeError::check_name(&name)?;
                let refused = |reason| VolumeError::Options {
                    name: name.clone(),
                    reason,
                };
                driver.check(&options).map_err(refused)?;
                driver.requested(&options).map_err(refused)?
            }
            None if volume_plugins::is_volume_name(&name) => Requested::default(),
            None => return Err(VolumeError::PluginName { name }),
        };
        let pool = if requested.placeable {
            let pool = options.get("pool").map(String::as_str);
            self.pool_for(pool).map_err(|reason| VolumeError::Pool {
                name: name.clone(),
                reason: Box::new(reason),
            })?
        } else {
            None
        };
        if anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        Ok(Create {
            id: VolumeId::random(),
            name,
            driver,
            options,
            labels,
            anonymous,
            pool,
            bytes: requested.limits.bytes,
            inodes: requested.limits.inodes,
            soft_bytes: requested.soft_bytes,
            created_at: None,
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            paths: &self.paths,
            drivers: &self.drivers,
            plugins: &self.plugins,
        }
    }

    pub(crate) fn shown(&self, row: VolumeRow) -> Volume {
        Volume::new(row, &self.paths, &self.drivers, &self.plugins)
    }
}

/// What the steps of operations work with.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) paths: &'a Paths,
    pub(crate) drivers: &'a Drivers,
    pub(crate) plugins: &'a Plugins,
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Create {
    id: VolumeId,
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) options: Options,
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
    /// `None`: it is new.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Build,
}

impl Create {
    pub(crate) fn id(&self) -> &VolumeId {
        &self.id
    }

    pub(crate) fn pool(&self) -> Option<&PoolId> {
        self.pool.as_ref()
    }

    /// Of a volume that a plugin has already.
    pub(crate) fn found(name: &str, plugin: &str) -> Self {
        Self {
            id: VolumeId::random(),
            name: name.to_owned(),
            driver: plugin.to_owned(),
            options: Options::new(),
            labels: BTreeMap::new(),
            anonymous: false,
            pool: None,
            bytes: None,
            inodes: None,
            soft_bytes: None,
            created_at: None,
        }
    }

    fn with_driver<T>(
        &self,
        driver: &dyn Driver,
        context: &Context<'_>,
        act: impl FnOnce(&dyn Driver, Place<'_>) -> Result<T, DriverError>,
    ) -> Result<T, VolumeError> {
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
        let before = self.created_at.as_deref();
        let made = before.and_then(|at| at.parse().ok()).unwrap_or(now);
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
            created_at: Timestamp::from_second(made.as_second())
                .unwrap_or(made)
                .to_string(),
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let driver = context.drivers.find(&self.driver);
        match driver {
            Some(driver) => {
                self.with_driver(driver, context, |driver, place| driver.build(place))?;
                place::link(context.paths, &self.id, self.pool.as_ref())?;
            }
            None => make_directory(&context.paths.volume(&self.id))?,
        }
        description::begin(context, &self.id)?;
        let data = context.paths.data();
        sys::durable::sync_dir(&data).map_err(VolumeError::io("sync", data))?;
        if driver.is_none() {
            return elsewhere::create::provide(context.plugins, self);
        }
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
        let Some(driver) = context.drivers.find(&self.driver) else {
            let directory = context.paths.volume(&self.id);
            description::remove(&directory)?;
            return sys::durable::remove_dir(&directory)
                .map(drop)
                .map_err(VolumeError::io("remove", directory));
        };
        link::remove(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "unlink",
            context.paths.volume_link(&self.name),
        ))?;
        description::remove(&context.paths.volume_home(&self.id, self.pool.as_ref()))?;
        self.with_driver(driver, context, |driver, place| driver.unbuild(place))?;
        place::unlink(context.paths, &self.id, self.pool.as_ref())
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(tx.delete_volume(&self.id)?)
    }
}

/// Where the description of a volume is that has no data here.
fn make_directory(directory: &Path) -> Result<(), VolumeError> {
    match sys::durable::create_dir_unsynced(directory, 0o701) {
        // By the attempt that a crash cut short.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(VolumeError::io("make", directory)),
    }
}

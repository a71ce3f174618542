//! `begin`: a place for a volume that comes from elsewhere.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`, row of the arrival; the name is taken
//! 2. `build`: the driver makes the volume's directory with `_data`, in `data` or in a pool; then the link in `data`;
//!    durable. There is no description: a database that is lost must not make a volume of a part of one
//! 3. commit, with step 2's record; the volume stays `creating`
//!
//! Before 3 everything is undone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{ArrivalRow, OpId, PoolId, StorageRow, VolumeId, VolumeRow, VolumeState, WriteTx};

use super::{Arrival, ArriveVolume, Luggage, is_open};
use crate::create::Context;
use crate::driver::{DEFAULT, Driver, DriverError, Options, Place};
use crate::{VolumeError, Volumes, held, place};

impl Volumes {
    /// A place for the bytes of a volume: the one that an earlier attempt with the same origin has begun, or a new one.
    ///
    /// # Errors
    /// [`VolumeError::NameTaken`], [`VolumeError::Arriving`], [`VolumeError::OtherArrival`], [`VolumeError::Name`],
    /// [`VolumeError::Options`], [`VolumeError::Pool`].
    pub fn begin_arrival(&self, wanted: &ArriveVolume) -> Result<Arrival<'_>, VolumeError> {
        let luggage = &wanted.luggage;
        let passport = &luggage.passport;
        let name = wanted.name.as_deref().unwrap_or(passport.name()).to_owned();
        VolumeError::check_name(&name)?;
        if !passport.is_understood() {
            return Err(VolumeError::Luggage(name));
        }
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        let found = self.store.read(|tx| {
            let Some(row) = tx.volume_by_name(&name)? else {
                return Ok(None);
            };
            let arrival = tx.arrival(&row.id)?;
            Ok::<_, VolumeError>(Some((row, arrival)))
        })?;
        let mut notes = Vec::new();
        let (id, resumed, settled) = match found {
            None => (self.build_arrival(&name, wanted, &mut notes)?, false, false),
            Some((row, Some(arrival))) if is_open(&row, &arrival) => {
                if arrival.origin != luggage.origin {
                    return Err(VolumeError::OtherArrival(name));
                }
                self.refresh(&arrival, luggage)?;
                (row.id, true, false)
            }
            // It is here; the one who moves it has not heard of that.
            Some((row, Some(arrival)))
                if row.state == VolumeState::Ready
                    && luggage.moving
                    && arrival.origin == luggage.origin =>
            {
                (row.id, true, true)
            }
            Some((row, _)) if row.state == VolumeState::Creating => {
                return Err(VolumeError::Unfinished(name));
            }
            Some(_) => return Err(VolumeError::NameTaken(name)),
        };
        let row = self.store.read(|tx| tx.volume(&id))?;
        let row = row.ok_or_else(|| VolumeError::NotFound(name.clone()))?;
        let content = self.paths.volume_content(&id);
        self.expose(&row, &content)?;
        if !held(&self.arriving).insert(id.clone()) {
            return Err(VolumeError::Arriving(name));
        }
        Ok(Arrival {
            volumes: self,
            id,
            name,
            content,
            resumed,
            settled,
            notes,
        })
    }

    /// What comes with the volume now counts, not what came with an earlier attempt.
    fn refresh(&self, arrival: &ArrivalRow, luggage: &Luggage) -> Result<(), VolumeError> {
        let new = ArrivalRow {
            luggage: text(luggage),
            ..arrival.clone()
        };
        self.store.write(|tx| {
            tx.delete_arrival(&arrival.volume)?;
            Ok(tx.insert_arrival(&new)?)
        })
    }

    fn build_arrival(
        &self,
        name: &str,
        wanted: &ArriveVolume,
        notes: &mut Vec<String>,
    ) -> Result<VolumeId, VolumeError> {
        let (request, said) = wanted.luggage.passport.clone().request(name);
        notes.extend(said);
        let mut options = request.options;
        if wanted.without_limits {
            options.clear();
        }
        let refused = |reason| VolumeError::Options {
            name: name.to_owned(),
            reason,
        };
        let driver = self
            .drivers
            .find(DEFAULT)
            .expect("there is always the local driver");
        driver.check(&options).map_err(refused)?;
        let requested = driver.requested(&options).map_err(refused)?;
        let pool = self
            .pool_for(wanted.pool.as_deref())
            .map_err(|reason| VolumeError::Pool {
                name: name.to_owned(),
                reason: Box::new(reason),
            })?;
        let begin = Begin {
            id: VolumeId::random(),
            name: name.to_owned(),
            options,
            pool,
            bytes: requested.limits.bytes,
            inodes: requested.limits.inodes,
            soft_bytes: requested.soft_bytes,
            labels: request.labels,
            luggage: wanted.luggage.clone(),
        };
        journal::execute(&self.store, &begin, &self.context())?;
        Ok(begin.id)
    }
}

fn text(luggage: &Luggage) -> String {
    serde_json::to_string(luggage).expect("maps have string keys")
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    id: VolumeId,
    name: String,
    options: Options,
    pool: Option<PoolId>,
    bytes: Option<u64>,
    inodes: Option<u64>,
    soft_bytes: Option<u64>,
    labels: BTreeMap<String, String>,
    luggage: Luggage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Build,
}

impl Begin {
    fn with_driver<T>(
        &self,
        context: &Context<'_>,
        act: impl FnOnce(&dyn Driver, Place<'_>) -> Result<T, DriverError>,
    ) -> Result<T, VolumeError> {
        let driver = context
            .drivers
            .find(DEFAULT)
            .expect("there is always the local driver");
        let pool = self.pool.as_ref();
        let (directory, content) = (
            context.paths.volume_home(&self.id, pool),
            context.paths.volume_home_content(&self.id, pool),
        );
        let place = Place {
            directory: &directory,
            content: &content,
            mountpoint: &context.paths.mountpoint(&self.name),
            options: &self.options,
        };
        act(driver, place).map_err(|reason| VolumeError::Options {
            name: self.name.clone(),
            reason,
        })
    }
}

impl Operation for Begin {
    const KIND: &'static str = "volume-arrive";
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
        let now = Timestamp::now();
        let created_at = self.luggage.passport.created_at().parse::<Timestamp>();
        tx.insert_volume(&VolumeRow {
            id: self.id.clone(),
            name: self.name.clone(),
            driver: DEFAULT.to_owned(),
            options: (!self.options.is_empty()).then(|| self.options.clone()),
            labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
            anonymous: false,
            state: VolumeState::Creating,
            // Whole seconds, as Docker shows them.
            created_at: Timestamp::from_second(created_at.unwrap_or(now).as_second())
                .unwrap_or(now)
                .to_string(),
        })?;
        Ok(tx.insert_arrival(&ArrivalRow {
            volume: self.id.clone(),
            origin: self.luggage.origin.clone(),
            luggage: text(&self.luggage),
            began_at: now.to_string(),
            arrived_at: None,
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        self.with_driver(context, |driver, place| driver.build(place))?;
        place::link(context.paths, &self.id, self.pool.as_ref())?;
        let data = context.paths.data();
        sys::durable::sync_dir(&data).map_err(VolumeError::io("sync", data))
    }

    fn record(&self, _step: Step, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        self.with_driver(context, |driver, place| driver.unbuild(place))?;
        place::unlink(context.paths, &self.id, self.pool.as_ref())
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        tx.delete_arrival(&self.id)?;
        Ok(tx.delete_volume(&self.id)?)
    }
}

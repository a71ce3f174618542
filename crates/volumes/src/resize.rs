//! `resize`: another limit for what a volume may hold, while it is in use where that can be done; and soft limits.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `limit`: the driver sets the limit
//! 3. commit, with step 2's record: the limit is recorded; the description beside the data follows
//!
//! Before 3 the limit that was before is set again. A limit that takes a tree of another kind is [`crate::convert`]'s.
//!
//! A soft limit keeps nobody from writing, and needs no other limit: what no quota counts is measured now and then. Who crosses it is told of once, and again only after the volume has held less
//! than [`CALM`] percent of it.

use std::sync::PoisonError;
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, StorageRow, VolumeId, VolumeRow, WriteTx};

use crate::convert::{self, Convert};
use crate::driver::{Abilities, Driver, DriverError, Held, Limits};
use crate::{Observer, VolumeAction, VolumeError, Volumes, held};

/// Percent of a soft limit below which it counts as not crossed.
pub const CALM: u64 = 95;

/// So many times as long as it took to look at all files of a volume, they are left in peace: that takes a fiftieth of a processor.
const RARELY: u32 = 50;

/// What shall change; what is `None` stays, 0 takes a limit away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResizeVolume {
    pub bytes: Option<u64>,
    pub inodes: Option<u64>,
    pub soft_bytes: Option<u64>,
    /// A container that runs has it mounted. A limit that takes another tree is refused then.
    pub mounted: bool,
}

/// Where a volume lies, what it may hold and holds.
#[derive(Debug, Clone)]
pub struct VolumeStorage {
    /// Name of its pool.
    pub pool: String,
    pub limits: Limits,
    pub soft_bytes: Option<u64>,
    /// It held more when it was looked at last.
    pub soft_crossed: bool,
    /// What it holds, if it has a limit.
    pub held: Option<Held>,
    /// What can be done with it; `None` when that cannot be told now, or its bytes are elsewhere.
    pub abilities: Option<Abilities>,
}

impl VolumeStorage {
    /// Of a volume that a plugin keeps.
    pub fn elsewhere() -> Self {
        Self {
            pool: String::new(),
            limits: Limits::default(),
            soft_bytes: None,
            soft_crossed: false,
            held: None,
            abilities: None,
        }
    }
}

impl Volumes {
    /// Changes what a volume may hold. `observer` is told of the copy, if that takes one.
    ///
    /// # Errors
    /// [`VolumeError::Resize`] with the driver's reason; [`VolumeError::NotFound`], [`VolumeError::Unavailable`].
    pub fn resize(
        &self,
        name: &str,
        change: ResizeVolume,
        observer: &dyn Observer,
    ) -> Result<VolumeStorage, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        self.must_be_here(&row.name, &row.driver, "resized")?;
        drop(self.open_content(&row)?);
        let from = self.store.read(|tx| tx.volume_storage(&row.id))?;
        let new =
            |new: Option<u64>, old: Option<u64>| new.map_or(old, |new| (new > 0).then_some(new));
        let mut to = StorageRow {
            bytes: new(change.bytes, from.bytes),
            inodes: new(change.inodes, from.inodes),
            soft_bytes: new(change.soft_bytes, from.soft_bytes),
            ..from.clone()
        };
        if to.soft_bytes != from.soft_bytes {
            to.soft_crossed = false;
        }
        if to
            .soft_bytes
            .is_some_and(|soft| to.bytes.is_some_and(|bytes| soft > bytes))
        {
            return Err(VolumeError::Resize {
                name: row.name,
                reason: DriverError::SoftAboveSize,
            });
        }
        let resize = Resize {
            id: row.id.clone(),
            name: row.name.clone(),
            driver: row.driver.clone(),
            from: from.into(),
            to: to.into(),
        };
        let bytes = resize.to.bytes;
        let refused = |reason| VolumeError::Resize {
            name: row.name.clone(),
            reason,
        };
        let limits = resize.limits();
        let is_unkept = || !limits.is_none() && matches!(self.held_by(&row), Ok(None));
        if (resize.is_for_driver() || is_unkept())
            && self
                .with_driver(&row, |driver, place| {
                    driver.takes_another_tree(place, limits)
                })
                .map_err(refused)?
        {
            if change.mounted || self.store.read(|tx| tx.mount_uses(&row.id))? > 0 {
                let why = "it is mounted in a container, and has to be copied".to_owned();
                return Err(refused(DriverError::Live { why }));
            }
            let context = convert::Context {
                volumes: self,
                observer,
            };
            journal::execute(&self.store, &Convert(resize), &context)?;
        } else {
            journal::execute(&self.store, &resize, self)?;
        }
        self.describe(&row.id);
        self.ring_limits();
        self.publish(&row.name, &row.driver, VolumeAction::Resize { bytes });
        self.storage_of(&row)
    }

    /// Where a volume lies, what it may hold and holds.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn storage(&self, name: &str) -> Result<VolumeStorage, VolumeError> {
        self.storage_of(&self.row(name)?)
    }

    fn storage_of(&self, row: &VolumeRow) -> Result<VolumeStorage, VolumeError> {
        if self.is_elsewhere(&row.driver) {
            return Ok(VolumeStorage::elsewhere());
        }
        let storage = self.store.read(|tx| tx.volume_storage(&row.id))?;
        let pool = match &storage.pool {
            None => crate::pool::DEFAULT.to_owned(),
            Some(id) => self
                .store
                .read(|tx| tx.pool(id))?
                .map_or_else(|| id.to_string(), |pool| pool.name),
        };
        // A volume that is not there can still be shown.
        let there = self.open_content(row).is_ok();
        let abilities = if there {
            self.with_driver(row, |driver, place| driver.abilities(place))
                .ok()
                .flatten()
        } else {
            None
        };
        let held = if there && !limits(&storage).is_none() {
            self.held_by(row).ok().flatten()
        } else {
            None
        };
        Ok(VolumeStorage {
            pool,
            limits: limits(&storage),
            soft_bytes: storage.soft_bytes,
            soft_crossed: storage.soft_crossed,
            held,
            abilities,
        })
    }

    fn held_by(&self, row: &VolumeRow) -> Result<Option<Held>, DriverError> {
        self.with_driver(row, |driver, place| driver.held(place.content))
    }

    /// Looks at every volume with a soft limit, and tells of those that have crossed it; whether there are any.
    ///
    /// # Errors
    /// [`VolumeError::Store`]. A volume that cannot be measured is left for the next time.
    pub fn watch_soft_limits(&self) -> Result<bool, VolumeError> {
        let watched: Vec<(VolumeId, StorageRow)> = self
            .store
            .read(|tx| tx.all_volume_storage())?
            .into_iter()
            .filter(|(_, storage)| storage.soft_bytes.is_some())
            .collect();
        let any = !watched.is_empty();
        for (id, storage) in watched {
            let Some(row) = self.store.read(|tx| tx.volume(&id))? else {
                continue;
            };
            let bytes = if limits(&storage).is_none() {
                self.measured_now_and_then(&row)
            } else {
                self.held_by(&row).ok().flatten().map(|held| held.bytes)
            };
            let (Some(soft), Some(bytes)) = (storage.soft_bytes, bytes) else {
                continue;
            };
            let crossed = if storage.soft_crossed {
                bytes >= soft / 100 * CALM
            } else {
                bytes > soft
            };
            if crossed != storage.soft_crossed {
                self.note_soft_limit(&row, crossed, bytes, soft)?;
            }
        }
        Ok(any)
    }

    /// What a volume's files take, by looking at all of them; `None` where that cannot be told, or was done not long ago.
    fn measured_now_and_then(&self, row: &VolumeRow) -> Option<u64> {
        let began = Instant::now();
        let due = || {
            self.soft_walks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if due().get(&row.id).is_some_and(|due| *due > began) {
            return None;
        }
        let measured = self.tree_size(&row.name, &mut |_| true).ok().flatten();
        let mut due = due();
        // What is gone by now is looked up no more.
        due.retain(|_, due| *due > began);
        due.insert(row.id.clone(), Instant::now() + began.elapsed() * RARELY);
        measured.map(|(_, size)| size.bytes)
    }

    fn note_soft_limit(
        &self,
        row: &VolumeRow,
        crossed: bool,
        used: u64,
        soft: u64,
    ) -> Result<(), VolumeError> {
        let changed = self.store.write(|tx| {
            let storage = tx.volume_storage(&row.id)?;
            // A resize was faster.
            if storage.soft_bytes != Some(soft) {
                return Ok::<_, VolumeError>(false);
            }
            tx.set_volume_storage(
                &row.id,
                &StorageRow {
                    soft_crossed: crossed,
                    ..storage
                },
            )?;
            if crossed {
                let detail = format!("{used} of {soft} bytes");
                tx.insert_volume_event(
                    &row.id,
                    &Timestamp::now().to_string(),
                    "soft_limit",
                    &detail,
                )?;
            }
            Ok(true)
        })?;
        if changed && crossed {
            self.publish(
                &row.name,
                &row.driver,
                VolumeAction::SoftLimit { used, soft },
            );
        }
        Ok(())
    }
}

pub(crate) fn limits(storage: &StorageRow) -> Limits {
    Limits {
        bytes: storage.bytes,
        inodes: storage.inodes,
    }
}

/// What the journal keeps of [`StorageRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Limited {
    bytes: Option<u64>,
    inodes: Option<u64>,
    soft_bytes: Option<u64>,
    soft_crossed: bool,
}

impl From<StorageRow> for Limited {
    fn from(row: StorageRow) -> Self {
        Self {
            bytes: row.bytes,
            inodes: row.inodes,
            soft_bytes: row.soft_bytes,
            soft_crossed: row.soft_crossed,
        }
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resize {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
    driver: String,
    from: Limited,
    to: Limited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Limit,
}

impl Limited {
    fn limits(&self) -> Limits {
        Limits {
            bytes: self.bytes,
            inodes: self.inodes,
        }
    }
}

impl Resize {
    /// What the volume may hold afterwards.
    pub(crate) fn limits(&self) -> Limits {
        self.to.limits()
    }

    /// What it may hold until then.
    pub(crate) fn limits_before(&self) -> Limits {
        self.from.limits()
    }

    /// A soft limit alone is the record's.
    fn is_for_driver(&self) -> bool {
        self.from.limits() != self.to.limits()
    }

    pub(crate) fn driver_in<'v>(
        &self,
        volumes: &'v Volumes,
    ) -> Result<&'v dyn Driver, VolumeError> {
        volumes
            .drivers
            .find(&self.driver)
            .ok_or_else(|| VolumeError::Elsewhere {
                name: self.name.clone(),
                driver: self.driver.clone(),
                what: "resized",
            })
    }

    /// Records the limit, and that it was changed.
    pub(crate) fn note(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        let storage = StorageRow {
            pool: tx.volume_storage(&self.id)?.pool,
            bytes: self.to.bytes,
            inodes: self.to.inodes,
            soft_bytes: self.to.soft_bytes,
            soft_crossed: self.to.soft_crossed,
        };
        tx.set_volume_storage(&self.id, &storage)?;
        let size = |bytes: Option<u64>| {
            bytes.map_or_else(|| "no limit".to_owned(), |bytes| format!("{bytes} bytes"))
        };
        let (from, to) = (&self.from, &self.to);
        let mut changes = Vec::new();
        for (what, from, to) in [
            ("", from.bytes, to.bytes),
            ("soft: ", from.soft_bytes, to.soft_bytes),
        ] {
            if from != to {
                changes.push(format!("{what}{} to {}", size(from), size(to)));
            }
        }
        if from.inodes != to.inodes {
            let files = |inodes: Option<u64>| {
                inodes.map_or_else(|| "any number of".to_owned(), |inodes| inodes.to_string())
            };
            changes.push(format!(
                "{} to {} files",
                files(from.inodes),
                files(to.inodes)
            ));
        }
        let detail = changes.join(", ");
        Ok(tx.insert_volume_event(&self.id, &Timestamp::now().to_string(), "resize", &detail)?)
    }

    fn set(&self, volumes: &Volumes, to: &Limited) -> Result<(), VolumeError> {
        self.driver_in(volumes)?
            .limit(&volumes.paths.volume_content(&self.id), to.limits())
            .map_err(|reason| VolumeError::Resize {
                name: self.name.clone(),
                reason,
            })
    }
}

impl Operation for Resize {
    const KIND: &'static str = "volume-resize";
    const STEPS: &'static [(&'static str, Step)] = &[("limit", Step::Limit)];
    const COMMIT: Option<Step> = Some(Step::Limit);
    type Step = Step;
    type Context<'a> = Volumes;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn run(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), VolumeError> {
        if self.is_for_driver() {
            self.set(volumes, &self.to)?;
        }
        Ok(())
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        self.note(tx)
    }

    fn undo(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), VolumeError> {
        if self.is_for_driver() {
            self.set(volumes, &self.from)?;
        }
        Ok(())
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }
}

//! `pool resize`: gives a pool that has a file of its own another size, under whoever uses it.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `resize`: larger: the file, its device, the filesystem; smaller: the other way round
//! 3. commit, with step 2's record: the size is recorded
//!
//! Before 3 the size that was before is made again.

use std::os::fd::AsFd as _;

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, PoolId, WriteTx};

use super::create::{LEAST, lock_name};
use super::up::attach_image;
use super::{Marker, Pool, PoolError, Room, room};
use crate::{Volumes, held, open_directory};

/// The filesystem and the device count in these.
const BLOCK: u64 = 4096;

impl Volumes {
    /// Gives the pool `name` the size `bytes`.
    ///
    /// # Errors
    /// [`PoolError::NoSize`], [`PoolError::TooFull`], [`PoolError::NotFound`], [`PoolError::Down`].
    pub fn resize_pool(&self, name: &str, bytes: u64) -> Result<Pool, PoolError> {
        let lock = self.name_lock(&lock_name(name));
        let _held = held(&lock);
        if name == super::DEFAULT {
            return Err(PoolError::NoSize(name.to_owned()));
        }
        let row = self.pool_row(name)?;
        let Some(from) = row.size.filter(|_| row.source.is_none()) else {
            return Err(PoolError::NoSize(name.to_owned()));
        };
        self.must_be_up(&row)?;
        if bytes < LEAST {
            return Err(PoolError::TooSmall(LEAST));
        }
        let to = bytes.div_ceil(BLOCK).saturating_mul(BLOCK);
        let Room { size, free } = room(&self.paths.pool_volumes(&row.id))?;
        let used = size.saturating_sub(free);
        if used > to {
            return Err(PoolError::TooFull { used, wanted: to });
        }
        let resize = Resize {
            id: row.id,
            name: row.name,
            from,
            to,
        };
        journal::execute(&self.store, &resize, self)?;
        if let Some(row) = self.store.read(|tx| tx.pool(&resize.id))? {
            // Copies of what is recorded: a start writes them again.
            for path in [
                self.paths.pool_description(&row.id),
                self.paths.pool_marker(&row.id),
            ] {
                Marker::of(&row).write(&path)?;
            }
        }
        self.pool(name)
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resize {
    id: PoolId,
    name: String,
    from: u64,
    to: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Resize,
}

impl Resize {
    fn make(&self, volumes: &Volumes, bytes: u64) -> Result<(), PoolError> {
        let image = volumes.paths.pool_image(&self.id);
        let failed = || PoolError::io("resize", &image);
        if let Some(row) = volumes.store.read(|tx| tx.pool(&self.id))? {
            volumes.bring_pool_up(&row)?;
        }
        let content = volumes.paths.pool_volumes(&self.id);
        let fs = open_directory(&content).map_err(PoolError::io("open", content))?;
        let length = sys::image_file::length(&image)
            .map_err(failed())?
            .unwrap_or_default();
        let device = attach_image(&image).map_err(failed())?;
        if length < bytes {
            sys::image_file::resize(&image, bytes)
                .and_then(|()| device.resize())
                .map_err(failed())?;
        }
        match sys::btrfs_quota::resize(fs.as_fd(), Some(bytes)) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                return Err(PoolError::TooFull {
                    used: length,
                    wanted: bytes,
                });
            }
            other => other.map_err(failed())?,
        }
        if length > bytes {
            sys::image_file::resize(&image, bytes)
                .and_then(|()| device.resize())
                .map_err(failed())?;
        }
        Ok(())
    }
}

impl Operation for Resize {
    const KIND: &'static str = "pool-resize";
    const STEPS: &'static [(&'static str, Step)] = &[("resize", Step::Resize)];
    const COMMIT: Option<Step> = Some(Step::Resize);
    type Step = Step;
    type Context<'a> = Volumes;
    type Error = PoolError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(())
    }

    fn run(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        self.make(volumes, self.to)
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(tx.set_pool_size(&self.id, self.to)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        self.make(volumes, self.from)
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(())
    }
}

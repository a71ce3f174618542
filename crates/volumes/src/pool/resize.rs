//! `pool resize`: gives a pool that has a file or a device of its own another size, under whoever uses it.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `resize`: larger: the file, its device, the filesystem; smaller: the other way round. Of a device
//!    the filesystem takes more or less
//! 3. commit, with step 2's record: the size of a file is recorded
//!
//! Before 3 the size that was before is made again.

use std::io::{Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, PoolId, PoolRow, WriteTx};
use sys::btrfs_quota::{self, Device};

use super::create::{LEAST, lock_name};
use super::up::attach_image;
use super::{Marker, Pool, PoolError, Room, room};
use crate::{Volumes, held, mount_table, open_directory};

/// The filesystem and the device count in these.
const BLOCK: u64 = 4096;

impl Volumes {
    /// Gives the pool `name` the size `bytes`; `None`: all of its device.
    ///
    /// # Errors
    /// [`PoolError::NoSize`], [`PoolError::TooFull`], [`PoolError::TooLarge`], [`PoolError::NotFound`], [`PoolError::Down`].
    pub fn resize_pool(&self, name: &str, bytes: Option<u64>) -> Result<Pool, PoolError> {
        let lock = self.name_lock(&lock_name(name));
        let _held = held(&lock);
        if name == super::DEFAULT {
            return Err(PoolError::NoSize(name.to_owned()));
        }
        let row = self.pool_row(name)?;
        self.must_be_up(&row)?;
        let content = self.paths.pool_volumes(&row.id);
        let device = if row.source.is_some() {
            Some(self.device_of_pool(&row)?)
        } else {
            None
        };
        let (from, to) = match (&device, row.size, bytes) {
            (None, Some(from), Some(to)) => (from, to.div_ceil(BLOCK).saturating_mul(BLOCK)),
            (None, Some(_), None) => return Err(PoolError::Senseless("max")),
            (None, None, _) => return Err(PoolError::NoSize(name.to_owned())),
            (Some(device), _, to) => {
                let most = length_of(&device.path)
                    .map_err(PoolError::io("measure", &device.path))?
                    / BLOCK
                    * BLOCK;
                let to = to.map_or(most, |to| to.div_ceil(BLOCK).saturating_mul(BLOCK));
                if to > most {
                    return Err(PoolError::TooLarge { most, wanted: to });
                }
                (device.bytes, to)
            }
        };
        if to < LEAST {
            return Err(PoolError::TooSmall(LEAST));
        }
        let Room { size, free } = room(&content)?;
        let used = size.saturating_sub(free);
        if used > to {
            return Err(PoolError::TooFull { used, wanted: to });
        }
        let resize = Resize {
            id: row.id,
            name: row.name,
            from,
            to,
            device: device.is_some(),
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

    /// The device that the pool alone is on. Which of the filesystems on a device is a pool tells where it is mounted: one on a
    /// directory is somebody else's.
    fn device_of_pool(&self, row: &PoolRow) -> Result<Device, PoolError> {
        let no_size = || PoolError::NoSize(row.name.clone());
        let mounted = self.paths.pool_fs(&row.id);
        let look = || PoolError::io("look at", &mounted);
        if mounted.is_symlink() || !mount_table::is_mountpoint(&mounted).map_err(look())? {
            return Err(no_size());
        }
        let root = open_directory(&mounted).map_err(look())?;
        let device = btrfs_quota::only_device(root.as_fd()).map_err(look())?;
        device.ok_or_else(|| PoolError::SeveralDevices(row.name.clone()))
    }
}

/// Bytes of a block device.
fn length_of(device: &Path) -> std::io::Result<u64> {
    std::fs::File::open(device)?.seek(SeekFrom::End(0))
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resize {
    id: PoolId,
    name: String,
    from: u64,
    to: u64,
    /// It is on a device of somebody's, of which it takes so much.
    #[serde(default)]
    device: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Resize,
}

impl Resize {
    fn make(&self, volumes: &Volumes, bytes: u64) -> Result<(), PoolError> {
        if let Some(row) = volumes.store.read(|tx| tx.pool(&self.id))? {
            volumes.bring_pool_up(&row)?;
        }
        let content = volumes.paths.pool_volumes(&self.id);
        let fs = open_directory(&content).map_err(PoolError::io("open", content))?;
        if self.device {
            return self.take(fs.as_fd(), bytes);
        }
        let image = volumes.paths.pool_image(&self.id);
        let failed = || PoolError::io("resize", &image);
        let length = sys::image_file::length(&image)
            .map_err(failed())?
            .unwrap_or_default();
        let device = attach_image(&image).map_err(failed())?;
        if length < bytes {
            sys::image_file::resize(&image, bytes)
                .and_then(|()| device.resize())
                .map_err(failed())?;
        }
        // A file has one device, the first.
        let first = Device {
            id: 1,
            bytes: length,
            path: image.clone(),
        };
        spread(fs.as_fd(), &first, bytes)?;
        if length > bytes {
            sys::image_file::resize(&image, bytes)
                .and_then(|()| device.resize())
                .map_err(failed())?;
        }
        Ok(())
    }

    /// Lets the filesystem take so much of its device.
    fn take(&self, fs: BorrowedFd<'_>, bytes: u64) -> Result<(), PoolError> {
        let device = btrfs_quota::only_device(fs)
            .map_err(PoolError::io("look at", self.name.as_str()))?
            .ok_or_else(|| PoolError::SeveralDevices(self.name.clone()))?;
        spread(fs, &device, bytes)
    }
}

/// Gives a filesystem so much of a device.
fn spread(fs: BorrowedFd<'_>, device: &Device, bytes: u64) -> Result<(), PoolError> {
    match btrfs_quota::resize(fs, device.id, bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Err(PoolError::TooFull {
            used: device.bytes,
            wanted: bytes,
        }),
        other => other.map_err(PoolError::io("resize", &device.path)),
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
        // What it takes of a device is told by its filesystem.
        if !self.device {
            tx.set_pool_size(&self.id, self.to)?;
        }
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        self.make(volumes, self.from)
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(())
    }
}

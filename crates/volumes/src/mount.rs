//! `mount` and `unmount`: a volume's bytes reachable for one more user, or one less.
//!
//! Volumes whose options name a filesystem are mounted with the first user and unmounted with the last; the users are
//! counted in the store, so that a restart of the engine knows them. A plugin's volumes are mounted by the plugin for each
//! user ([`crate::elsewhere`]). All others are simply there.
//!
//! A use is counted before the mount is made, and the mount taken down after the last use is struck out; a crash in
//! between leaves a count without a mount, or a mount without a count, and [`crate::recover`] ends both.

use std::path::PathBuf;

use store::{VolumeId, VolumeRow};

use crate::driver::{Driver, DriverError, Options, Place};
use crate::{VolumeAction, VolumeError, Volumes, held};

/// Holders of this crate's own, for as long as a call lasts. No id of a caller's begins like this.
pub(crate) const OWN: &str = ":";
pub(crate) const IMPORT: &str = ":import";
pub(crate) const EXPORT: &str = ":export";

impl Volumes {
    /// Makes the volume usable for `holder` and tells where its bytes are.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Mount`], [`VolumeError::Unavailable`].
    pub fn mount(&self, name: &str, holder: &str) -> Result<PathBuf, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let content = self.attach(&row, holder)?;
        self.note_mounted(name, holder);
        let action = VolumeAction::Mount {
            holder: holder.to_owned(),
        };
        self.publish(&row.name, &row.driver, action);
        Ok(content)
    }

    /// Takes back one [`Volumes::mount`] of `holder`; more unmounts than mounts are no error.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Unmount`].
    pub fn unmount(&self, name: &str, holder: &str) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        self.detach(&row, holder)?;
        let action = VolumeAction::Unmount {
            holder: holder.to_owned(),
        };
        self.publish(&row.name, &row.driver, action);
        Ok(())
    }

    /// Sets how often `holder` has the volume mounted, for a caller that knows and does not trust what was counted.
    ///
    /// # Errors
    /// As [`Volumes::unmount`].
    pub fn recount(&self, name: &str, holder: &str, count: u32) -> Result<(), VolumeError> {
        let row = self.row(name)?;
        if self.is_elsewhere(&row.driver) {
            return self.recount_elsewhere(&row, holder, count);
        }
        if !self.is_counted(&row) {
            return Ok(());
        }
        self.store
            .write(|tx| tx.set_mounts(&row.id, holder, count))?;
        self.take_down_unused(&[row.id])
    }

    /// [`Volumes::mount`] without telling anybody. The caller holds the name's lock.
    pub(crate) fn attach(&self, row: &VolumeRow, holder: &str) -> Result<PathBuf, VolumeError> {
        if let Some(plugin) = self.plugin(&row.driver) {
            return self.attach_elsewhere(row, &plugin, holder);
        }
        // Also tells of a volume whose directory has gone.
        drop(self.open_content(row)?);
        if self.is_counted(row) {
            self.store.write(|tx| tx.add_mount(&row.id, holder))?;
            if let Err(error) = self.bring_up(row) {
                self.store.write(|tx| tx.drop_mount(&row.id, holder))?;
                return Err(error);
            }
        }
        Ok(self.paths.volume_content(&row.id))
    }

    /// [`Volumes::unmount`] without telling anybody. The caller holds the name's lock.
    pub(crate) fn detach(&self, row: &VolumeRow, holder: &str) -> Result<(), VolumeError> {
        if let Some(plugin) = self.plugin(&row.driver) {
            return self.detach_elsewhere(row, &plugin, holder);
        }
        if !self.is_counted(row) {
            return Ok(());
        }
        let left = self.store.write(|tx| {
            tx.drop_mount(&row.id, holder)?;
            tx.mount_uses(&row.id)
        })?;
        if left == 0 {
            self.take_down(row)
        } else {
            Ok(())
        }
    }

    /// Takes down the mounts of volumes that have just lost a user, unless they have others.
    pub(crate) fn take_down_unused(&self, volumes: &[VolumeId]) -> Result<(), VolumeError> {
        for id in volumes {
            let Some(row) = self.store.read(|tx| tx.volume(id))? else {
                continue;
            };
            let lock = self.name_lock(&row.name);
            let _held = held(&lock);
            if self.store.read(|tx| tx.mount_uses(id))? == 0 {
                self.take_down(&row)?;
            }
        }
        Ok(())
    }

    /// Whether users of this volume's mount are counted at all.
    pub(crate) fn is_counted(&self, row: &VolumeRow) -> bool {
        match (&row.options, self.drivers.find(&row.driver)) {
            (Some(options), Some(driver)) => driver.needs_mount(options),
            _ => false,
        }
    }

    /// Whether the volume's mount exists.
    pub(crate) fn is_up(&self, row: &VolumeRow) -> Result<bool, VolumeError> {
        self.with_driver(row, |driver, place| driver.is_mounted(place))
            .map_err(|reason| self.unmount_error(row, reason))
    }

    /// Mounts the volume if that is not done and it needs it; a plugin's must be mounted already.
    pub(crate) fn bring_up(&self, row: &VolumeRow) -> Result<(), VolumeError> {
        self.with_driver(row, |driver, place| driver.mount(place))
            .map_err(|reason| VolumeError::Mount {
                path: self.paths.mountpoint(&row.name),
                reason,
            })
    }

    /// Unmounts a volume that nobody uses any more.
    pub(crate) fn take_down(&self, row: &VolumeRow) -> Result<(), VolumeError> {
        self.with_driver(row, |driver, place| driver.unmount(place))
            .map_err(|reason| self.unmount_error(row, reason))
    }

    fn unmount_error(&self, row: &VolumeRow, reason: DriverError) -> VolumeError {
        VolumeError::Unmount {
            path: self.paths.mountpoint(&row.name),
            reason,
        }
    }

    /// Calls the volume's driver; a plugin's volume is left as it is.
    pub(crate) fn with_driver<T: Default>(
        &self,
        row: &VolumeRow,
        act: impl FnOnce(&dyn Driver, Place<'_>) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let Some(driver) = self.drivers.find(&row.driver) else {
            return Ok(T::default());
        };
        let none = Options::new();
        act(
            driver,
            Place {
                directory: &self.paths.volume(&row.id),
                content: &self.paths.volume_content(&row.id),
                mountpoint: &self.paths.mountpoint(&row.name),
                options: row.options.as_ref().unwrap_or(&none),
            },
        )
    }
}

//! `mount` and `unmount`: a volume's bytes reachable for one more user, or one less.
//!
//! Volumes whose options name a filesystem are mounted with the first user and unmounted with the last; the users are
//! counted in the store, so that a restart of the engine knows them. All others are simply there.

use std::path::PathBuf;

use store::VolumeRow;

use crate::driver::{Driver, Options, Place};
use crate::{VolumeAction, VolumeError, Volumes, held, mount_table};

impl Volumes {
    /// Makes the volume usable for `holder` and tells where its bytes are.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Mount`], [`VolumeError::Unavailable`].
    pub fn mount(&self, name: &str, holder: &str) -> Result<PathBuf, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let content = self.paths.volume_content(&row.id);
        // Also tells a volume whose directory has gone.
        drop(self.open_content(&row)?);
        let options = row.options.clone().unwrap_or_default();
        let driver = self.driver_of(&row)?;
        if driver.needs_mount(&options) {
            let is_mounted = mount_table::is_mountpoint(&content).map_err(VolumeError::io("look at", &content))?;
            if !is_mounted {
                self.with_place(&row, &options, |place| driver.mount(place)).map_err(|reason| VolumeError::Mount {
                    path: self.paths.mountpoint(name),
                    reason,
                })?;
            }
            self.store.write(|tx| tx.add_mount(&row.id, holder))?;
        }
        self.publish(&row.name, &row.driver, VolumeAction::Mount { holder: holder.to_owned() });
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
        let options = row.options.clone().unwrap_or_default();
        let driver = self.driver_of(&row)?;
        if driver.needs_mount(&options) {
            let left = self.store.write(|tx| {
                tx.drop_mount(&row.id, holder)?;
                tx.mount_uses(&row.id)
            })?;
            if left == 0 {
                self.take_down(&row)?;
            }
        }
        self.publish(&row.name, &row.driver, VolumeAction::Unmount { holder: holder.to_owned() });
        Ok(())
    }

    /// Unmounts a volume that nobody uses any more.
    pub(crate) fn take_down(&self, row: &VolumeRow) -> Result<(), VolumeError> {
        let content = self.paths.volume_content(&row.id);
        if !mount_table::is_mountpoint(&content).map_err(VolumeError::io("look at", &content))? {
            return Ok(());
        }
        let options = row.options.clone().unwrap_or_default();
        let driver = self.driver_of(row)?;
        self.with_place(row, &options, |place| driver.unmount(place)).map_err(|reason| VolumeError::Unmount {
            path: self.paths.mountpoint(&row.name),
            reason,
        })
    }

    pub(crate) fn driver_of(&self, row: &VolumeRow) -> Result<&dyn Driver, VolumeError> {
        self.drivers.find(&row.driver).ok_or_else(|| VolumeError::UnknownDriver {
            name: row.name.clone(),
            driver: row.driver.clone(),
        })
    }

    fn with_place<T>(&self, row: &VolumeRow, options: &Options, act: impl FnOnce(Place<'_>) -> T) -> T {
        let (directory, content) = (self.paths.volume(&row.id), self.paths.volume_content(&row.id));
        let mountpoint = self.paths.mountpoint(&row.name);
        act(Place { directory: &directory, content: &content, mountpoint: &mountpoint, options })
    }
}

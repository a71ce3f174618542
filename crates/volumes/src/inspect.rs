//! `get` and `list`.

use store::VolumeState;

use crate::{Volume, VolumeError, Volumes};

impl Volumes {
    /// One volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Volume, VolumeError> {
        Ok(self.shown(self.row(name)?))
    }

    /// A volume that was looked at before, as it is now: it may have been renamed since.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn again(&self, volume: &Volume) -> Result<Volume, VolumeError> {
        let Some(id) = &volume.id else {
            return self.get(&volume.name);
        };
        let row = self.store.read(|tx| tx.volume(id))?;
        row.filter(|row| row.state == VolumeState::Ready)
            .map(|row| self.shown(row))
            .ok_or_else(|| VolumeError::NotFound(volume.name.clone()))
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn list(&self) -> Result<Vec<Volume>, VolumeError> {
        let rows = self.store.read(|tx| tx.volumes())?;
        Ok(rows.into_iter().map(|row| self.shown(row)).collect())
    }

    /// Names of the volumes that nobody holds.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn unused(&self) -> Result<Vec<String>, VolumeError> {
        let rows = self.store.read(|tx| tx.volumes_without_lease())?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }
}

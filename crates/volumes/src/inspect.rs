//! `get` and `list`.

use crate::{Volume, VolumeError, Volumes};

impl Volumes {
    /// One volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Volume, VolumeError> {
        Ok(self.shown(self.row(name)?))
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

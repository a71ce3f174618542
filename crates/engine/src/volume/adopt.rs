//! `adopt`: of a directory in the engine's data as it is, of any other one by a copy, which can be watched and stopped.

use std::path::Path;

use volumes::{Adopted, VolumeError};

use super::onlooker::Onlooker;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::progress::Progress;

impl Engine {
    /// Makes a volume of a directory in `data/` or a pool that no record has (`directory` is its name there, or its path), or of a
    /// copy of any other one, by its absolute path.
    ///
    /// # Errors
    /// As [`volumes::Volumes::adopt`] and [`volumes::Volumes::adopt_outside`].
    pub fn adopt_volume(
        &self,
        directory: &str,
        name: Option<&str>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Adopted, VolumeError> {
        if let Some(id) = self.volumes.id_of_directory(directory)? {
            return Ok(Adopted {
                volume: self.volumes.adopt(&id, name)?,
                warnings: Vec::new(),
            });
        }
        let path = Path::new(directory);
        if !path.is_absolute() {
            return Err(VolumeError::NotOrphan(directory.to_owned()));
        }
        let onlooker = Onlooker::new(progress, cancel);
        self.volumes.adopt_outside(path, name, &onlooker)
    }
}

//! The links `volumes/<name>` → `../data/<id>`, which let people find a volume's bytes by its name.
//!
//! They are made from the records and hold no truth of their own: [`crate::recover`] rebuilds them, so nobody waits for
//! them to be on disk.

use std::io;
use std::path::Path;

use store::{Paths, VolumeId};

use crate::{VolumeError, Volumes, held, place};

/// Makes the link, replacing one that points elsewhere. A real directory of that name is an error: it may hold data.
pub(crate) fn make(paths: &Paths, name: &str, id: &VolumeId) -> io::Result<()> {
    sys::durable::symlink_unsynced(&paths.volume_link_target(id), &paths.volume_link(name))
}

/// Removes the link if it points at this volume; anything else of that name stays.
pub(crate) fn remove(paths: &Paths, name: &str, id: &VolumeId) -> io::Result<()> {
    if points_at(paths, name)?.as_ref() == Some(id) {
        sys::durable::remove_file(&paths.volume_link(name))?;
    }
    Ok(())
}

/// The volume that the link of this name points at; `None` when there is no link, or not one of ours.
pub(crate) fn points_at(paths: &Paths, name: &str) -> io::Result<Option<VolumeId>> {
    match std::fs::read_link(paths.volume_link(name)) {
        Ok(target) => Ok(paths.volume_of_link_target(&target)),
        // InvalidInput: not a link at all.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Volumes {
    /// Makes the links to a volume again: that by its name, and that to where it lies in a pool.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; something else is where one has to be.
    pub fn make_link(&self, name: &str) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let paths = &self.paths;
        let entry = paths.volume_entry(&row.id);
        if entry.symlink_metadata().is_err() {
            let pool = self.store.read(|tx| tx.volume_storage(&row.id))?.pool;
            place::link(paths, &row.id, pool.as_ref())?;
        }
        let link = paths.volume_link(name);
        if points_at(paths, name).map_err(VolumeError::io("read", &link))? != Some(row.id.clone()) {
            make(paths, name, &row.id).map_err(VolumeError::io("link", link))?;
        }
        Ok(())
    }

    /// Removes a link in `volumes` or `data` that leads nowhere and belongs to no volume; any other stays.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`] when it is none.
    pub fn remove_dangling(&self, path: &Path) -> Result<(), VolumeError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lock = self.name_lock(&name);
        let _held = held(&lock);
        let is_known = self.store.read(|tx| {
            let id = VolumeId::parse(&name);
            let by_id = match &id {
                Some(id) => tx.volume(id)?.is_some() || tx.trashed(id)?.is_some(),
                None => false,
            };
            Ok::<_, VolumeError>(by_id || tx.volume_by_name(&name)?.is_some())
        })?;
        if is_known || !path.is_symlink() || path.exists() {
            return Err(VolumeError::NotFound(name.into_owned()));
        }
        sys::durable::remove_file(path)
            .map(drop)
            .map_err(VolumeError::io("remove", path))
    }
}

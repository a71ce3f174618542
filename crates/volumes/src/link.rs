//! The links `volumes/<name>` → `../data/<id>`, which let people find a volume's bytes by its name.
//!
//! They are made from the records and hold no truth of their own: [`crate::recover`] rebuilds them, so nobody waits for
//! them to be on disk.

use std::io;

use store::{Paths, VolumeId};

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

//! Where a volume's directory is: in `data`, or in a pool with a link to it in `data`; and what is mounted in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use store::{Paths, PoolId, VolumeId};

use crate::driver::Drivers;
use crate::{VolumeError, description, mount_table};

/// Makes the link to a volume that lies in a pool, whose directory is durable then; the entry in `data` is not.
pub(crate) fn link(paths: &Paths, id: &VolumeId, pool: Option<&PoolId>) -> Result<(), VolumeError> {
    let Some(pool) = pool else { return Ok(()) };
    let volumes = paths.pool_volumes(pool);
    sys::durable::sync_dir(&volumes).map_err(VolumeError::io("sync", volumes))?;
    let entry = paths.volume_entry(id);
    sys::durable::symlink_unsynced(&paths.volume_home_target(id, pool), &entry)
        .map_err(VolumeError::io("link", entry))
}

/// Takes it back.
pub(crate) fn unlink(
    paths: &Paths,
    id: &VolumeId,
    pool: Option<&PoolId>,
) -> Result<(), VolumeError> {
    if pool.is_none() {
        return Ok(());
    }
    let entry = paths.volume_entry(id);
    sys::durable::remove_file(&entry)
        .map(drop)
        .map_err(VolumeError::io("unlink", entry))
}

/// Filesystems of the volume's own that are mounted in its directory, the deepest first; `None`: something else is.
pub(crate) fn own_mounts(directory: &Path) -> Result<Option<Vec<PathBuf>>, VolumeError> {
    let mut points = mount_table::below(directory)
        .map_err(VolumeError::io("look for mounts below", directory))?;
    points.sort();
    points.reverse();
    let own = points.iter().all(|point| {
        ["image", "making"]
            .iter()
            .any(|end| point.with_extension(end).exists())
    });
    Ok(own.then_some(points))
}

/// Takes them down: the volume is going to lie somewhere where nobody uses it.
pub(crate) fn take_mounts_down(directory: &Path) -> Result<(), VolumeError> {
    for point in own_mounts(directory)?.into_iter().flatten() {
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH)
            .map_err(|error| VolumeError::io("unmount", &point)(error.into()))?;
    }
    Ok(())
}

/// Deletes what lies at `path`: a directory that is given up, or a link to one in a pool, and then that. Idempotent.
pub(crate) fn delete(paths: &Paths, drivers: &Drivers, path: &Path) -> Result<(), VolumeError> {
    let home = std::fs::read_link(path)
        .ok()
        .and_then(|target| paths.home_of_target(&target));
    let directory = match &home {
        None => path.to_owned(),
        Some((pool, id)) => {
            let volumes = paths.pool_volumes(pool);
            // A pool that is not there may hold it still.
            if !volumes.is_dir() {
                return Err(VolumeError::io("delete in", volumes)(
                    ErrorKind::NotFound.into(),
                ));
            }
            paths.volume_home(id, Some(pool))
        }
    };
    take_mounts_down(&directory)?;
    let owner = home
        .as_ref()
        .map(|(_, id)| id.clone())
        .or_else(|| description::owner(paths, &directory));
    drivers.renounce(&directory, owner.as_ref().map(VolumeId::as_str));
    match sys::dir::remove_tree(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => result.map_err(VolumeError::io("delete", directory))?,
    }
    if home.is_some() {
        sys::durable::remove_file(path).map_err(VolumeError::io("unlink", path))?;
    }
    Ok(())
}

//! At create: the volumes exist, are leased to the container, and the empty ones are filled from the image.
//!
//! Runs while the container's row says `creating`; [`Containers::abandon_mounts`] undoes it, also after a crash.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use volumes::{CreateVolume, SnapshotError};

use super::{ResolvedMount, SnapshotSource};
use crate::containers::create::to_json;
use crate::containers::{ContainerError, Containers};
use crate::volume::Seed;

impl Containers {
    /// Names the anonymous volumes of a new container. The names are recorded with the container before the volumes are
    /// made: a create that a crash cuts short between a volume and its lease is then undone completely.
    pub(crate) fn name_anonymous(mounts: &mut [ResolvedMount]) {
        for mount in mounts {
            if mount.point.kind == "volume" && mount.point.name.is_empty() {
                mount.point.name = store::names::anonymous_volume_name();
                mount.made_here = true;
            }
        }
    }

    /// Creates and leases every volume of `mounts`, completing their names, drivers and sources.
    ///
    /// `lowers` are the image's layers, topmost first, relative to the layers directory.
    pub(crate) fn prepare_mounts(
        &self,
        id: &str,
        mounts: &mut [ResolvedMount],
        lowers: &[PathBuf],
    ) -> Result<(), ContainerError> {
        for mount in mounts
            .iter_mut()
            .filter(|mount| mount.point.kind == "volume")
        {
            self.prepare_volume(id, mount)?;
        }
        let fill: Vec<&ResolvedMount> = mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume" && mount.copy)
            .collect();
        if fill.is_empty() || lowers.is_empty() {
            return Ok(());
        }
        let row = self.store.read(|tx| tx.container(id))?;
        let (image, image_id) = row
            .map(|row| (row.image_ref, row.image_id))
            .unwrap_or_default();
        let seed = Seed {
            image,
            image_id,
            at: Timestamp::now().to_string(),
            ..Seed::default()
        };
        sys::overlay::with_view(&self.paths.layers(), lowers, None, |root| {
            fill.iter()
                .try_for_each(|mount| self.fill(id, mount, root, &seed))
        })
        .map_err(|source| ContainerError::Io {
            action: "the image's files cannot be read to fill a volume".to_owned(),
            source,
        })?
    }

    fn prepare_volume(&self, id: &str, mount: &mut ResolvedMount) -> Result<(), ContainerError> {
        if mount.point.name.contains('@') {
            return self.prepare_snapshot(id, mount);
        }
        let point = &mut mount.point;
        let created = self.volumes.create(CreateVolume {
            name: (!point.name.is_empty()).then(|| point.name.clone()),
            driver: (!point.driver.is_empty()).then(|| point.driver.clone()),
            options: mount.driver_options.clone(),
            labels: mount.volume_labels.clone(),
            anonymous: mount.made_here,
        })?;
        mount.fresh = created.fresh;
        let volume = created.volume;
        self.volumes
            .lease(&volume.name, id, &point.destination, mount.anonymous)?;
        mount.volume_id = volume
            .id
            .filter(|_| !self.volumes.is_elsewhere(&volume.driver))
            .map(|id| id.as_str().to_owned());
        point.source = volume.mountpoint.to_string_lossy().into_owned();
        point.name = volume.name;
        point.driver = volume.driver;
        Ok(())
    }

    fn prepare_snapshot(&self, id: &str, mount: &mut ResolvedMount) -> Result<(), ContainerError> {
        let point = &mut mount.point;
        let leased = volumes::snapshot::parse_reference(&point.name)
            .and_then(|(volume, name)| {
                self.volumes
                    .lease_snapshot(volume, name, id, &point.destination)
            })
            .map_err(snapshot_error)?;
        point.source = leased.path.to_string_lossy().into_owned();
        point.driver = leased.driver;
        mount.copy = false;
        mount.snapshot = Some(SnapshotSource {
            volume: leased.volume,
            id: leased.id,
        });
        Ok(())
    }

    fn fill(
        &self,
        id: &str,
        mount: &ResolvedMount,
        root: BorrowedFd<'_>,
        seed: &Seed,
    ) -> Result<(), ContainerError> {
        use rustix::fs::OFlags;
        let point = &mount.point;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = match sys::dir::open_in_root(root, point.destination.as_ref(), flags) {
            Ok(source) => source,
            // Nothing to copy: the image has no directory there.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(source) => {
                return Err(ContainerError::Io {
                    action: format!("the image's {} cannot be opened", point.destination),
                    source,
                });
            }
        };
        let seed = to_json(&Seed {
            path: point.destination.clone(),
            subpath: mount.subpath.clone(),
            ..seed.clone()
        });
        self.volumes.mount(&point.name, id)?;
        let filled = {
            use std::os::fd::AsFd as _;
            self.volumes.populate(
                &point.name,
                mount.subpath.as_deref(),
                source.as_fd(),
                Some(&seed),
            )
        };
        self.volumes.unmount(&point.name, id)?;
        filled?;
        Ok(())
    }

    /// Gives back what [`Containers::prepare_mounts`] took: leases, and the anonymous volumes made for this container.
    pub(crate) fn abandon_mounts(
        &self,
        id: &str,
        mounts: &[ResolvedMount],
    ) -> Result<(), ContainerError> {
        self.release_volumes(id, true)?;
        for mount in mounts.iter().filter(|mount| mount.made_here) {
            self.volumes
                .discard_anonymous_if_unused(&mount.point.name)?;
        }
        Ok(())
    }

    /// Drops the container's leases; with `remove_anonymous` also removes its anonymous volumes that nobody else holds.
    /// Errors of such removals are logged, as Docker does: the container goes anyway.
    pub(crate) fn release_volumes(
        &self,
        id: &str,
        remove_anonymous: bool,
    ) -> Result<(), ContainerError> {
        self.volumes
            .release_snapshots(id)
            .map_err(|error| match error {
                SnapshotError::Store(error) => ContainerError::Store(error),
                error => ContainerError::Conflict(error.to_string()),
            })?;
        for released in self.volumes.release(id)? {
            if !(remove_anonymous && released.anonymous) {
                continue;
            }
            if let Err(error) = self.volumes.remove_anonymous_if_unused(&released.name) {
                tracing::warn!(volume = released.name, %error, "anonymous volume stays");
            }
        }
        Ok(())
    }
}

/// A snapshot that a container wants and cannot have.
pub(crate) fn snapshot_error(error: SnapshotError) -> ContainerError {
    match error {
        SnapshotError::Volume(error) => ContainerError::Volume(error),
        SnapshotError::Store(error) => ContainerError::Store(error),
        error => ContainerError::Invalid(error.to_string()),
    }
}

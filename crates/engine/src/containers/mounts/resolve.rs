//! From a request to one mount for each destination, by Docker's precedence.
//!
//! 1. anonymous volumes (image and request), only where nothing else is mounted;
//! 2. `--volumes-from`, in order, later ones win;
//! 3. `-v`, overriding 2; two for one destination, or one that is also a tmpfs, are an error;
//! 4. `--mount`, overriding 2; a destination that 3 or 4 already has is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::sources::BindMissing;
use super::{ResolvedMount, bind_spec, clean, mount_spec};
use crate::containers::config::MountRequest;
use crate::containers::{Config, ContainerError, Containers, HostConfig};

impl Containers {
    /// Decides every mount of a new container and checks it; makes nothing.
    ///
    /// `config` already holds the image's volumes.
    pub(crate) fn resolve_mounts(
        &self,
        config: &Config,
        host: &HostConfig,
    ) -> Result<Vec<ResolvedMount>, ContainerError> {
        let mut mounts: BTreeMap<String, ResolvedMount> = BTreeMap::new();
        for spec in host.volumes_from.iter().flatten() {
            for mount in self.volumes_from(spec)? {
                mounts.insert(mount.point.destination.clone(), mount);
            }
        }
        let tmpfs: BTreeSet<String> = host
            .tmpfs
            .iter()
            .flatten()
            .map(|(destination, _)| clean(destination))
            .collect();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for raw in host.binds.iter().flatten() {
            let mut mount = bind_spec::parse(raw, &host.volume_driver)?;
            let destination = mount.point.destination.clone();
            if tmpfs.contains(&destination) || !taken.insert(destination.clone()) {
                return Err(duplicate(&destination));
            }
            self.settle_propagation(&mut mount)?;
            self.settle_missing(&mut mount, host, "")?;
            mounts.insert(destination, mount);
        }
        for request in host.mounts.iter().flatten() {
            let says = says_of_missing(request);
            mount_spec::check(request, !says.is_empty() || host.bind_missing.is_empty())?;
            let mut mount = mount_spec::resolve(request);
            let destination = mount.point.destination.clone();
            if !taken.insert(destination.clone()) {
                return Err(duplicate(&destination));
            }
            self.settle_propagation(&mut mount)?;
            self.settle_missing(&mut mount, host, says)?;
            if mount.point.kind == "image" {
                mount.image = Some(self.images.for_run(&mount.point.name)?.id);
            }
            mounts.insert(destination, mount);
        }
        for destination in config
            .volumes
            .iter()
            .flatten()
            .map(|(destination, _)| destination)
        {
            let destination = clean(&format!("/{}", destination.trim_start_matches('/')));
            if destination == "/" {
                return Err(ContainerError::Invalid(
                    "invalid volume specification: destination can't be '/'".to_owned(),
                ));
            }
            if mounts.contains_key(&destination) || tmpfs.contains(&destination) {
                continue;
            }
            let mut mount = mount_spec::resolve(&MountRequest {
                kind: "volume".to_owned(),
                target: destination.clone(),
                ..Default::default()
            });
            mount.point.mode.clear();
            mount.point.driver.clone_from(&host.volume_driver);
            mounts.insert(destination, mount);
        }
        if host.exclusive_volumes {
            for mount in mounts.values_mut() {
                mount.exclusive |= mount.point.kind == "volume";
            }
        }
        Ok(mounts.into_values().collect())
    }

    /// What becomes of a bind source that does not exist: as the mount says, else the container's flag, else the engine's
    /// configuration where Docker would make a directory.
    pub(super) fn settle_missing(
        &self,
        mount: &mut ResolvedMount,
        host: &HostConfig,
        says: &str,
    ) -> Result<(), ContainerError> {
        if mount.point.kind != "bind" || !says.is_empty() {
            return Ok(());
        }
        if !host.bind_missing.is_empty() {
            mount.missing =
                BindMissing::parse(&host.bind_missing).map_err(ContainerError::Invalid)?;
            mount.create_source = true;
        } else if mount.create_source {
            mount.missing = self.config.care.bind_missing;
        }
        Ok(())
    }

    /// The default propagation of a bind, which differs where the source holds our own mounts.
    pub(super) fn settle_propagation(
        &self,
        mount: &mut ResolvedMount,
    ) -> Result<(), ContainerError> {
        if mount.point.kind != "bind" {
            return Ok(());
        }
        let root = self.paths.root();
        let source = Path::new(&mount.point.source);
        let overlaps = source.starts_with(root) || root.starts_with(source);
        match (mount.point.propagation.as_str(), overlaps) {
            ("", true) => "rslave".clone_into(&mut mount.point.propagation),
            ("", false) => "rprivate".clone_into(&mut mount.point.propagation),
            ("rslave" | "rshared", true) | (_, false) => {}
            (_, true) => {
                return Err(ContainerError::Invalid(
                    "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" \
                     when mount source is within the daemon root"
                        .to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// The mounts stored in a container's row.
    pub(crate) fn stored_mounts(
        &self,
        row: &store::ContainerRow,
    ) -> Result<Vec<ResolvedMount>, ContainerError> {
        serde_json::from_str(&row.mounts).map_err(|source| ContainerError::Io {
            action: format!("stored mounts of container {} cannot be read", row.id),
            source: source.into(),
        })
    }
}

/// What a mount itself says about its source being missing.
pub(super) fn says_of_missing(request: &MountRequest) -> &str {
    match &request.bind_options {
        Some(options) if !options.missing.is_empty() => &options.missing,
        _ => "",
    }
}

pub(super) fn duplicate(destination: &str) -> ContainerError {
    ContainerError::Invalid(format!("Duplicate mount point: {destination}"))
}

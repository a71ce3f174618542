//! `stack restore`: all volumes of one backup, and the containers that had them, with their networks.
//!
//! Steps:
//! 1. the backups of the group are found; names must be free and images there, or nothing begins
//! 2. the volumes are restored, each complete or not at all, and leased: nobody prunes one that has no container yet
//! 3. networks that are not there are made, then the containers are created, which hold the volumes from here on
//! 4. those that ran are started, if that is wanted
//!
//! A failure in 2 or 3 takes back what the call has made: copies of what the repository holds. After a crash what was
//! made stays, each volume and container complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backup::Backup;
use volumes::{Disposal, VolumeError};

use super::manifest::{CONTAINERS, ContainerManifest, ContainersManifest, VolumeMount, parse};
use super::reference::volume_of;
use super::repositories::{of, of_backup};
use super::restore::{Beside, Found, RestoredVolume};
use super::save::GROUP;
use super::{BackupError, Backups, shared};
use crate::cancel::Cancel;
use crate::containers::config::MountRequest;
use crate::containers::create::CreateRequest;
use crate::containers::remove::RemoveRequest;
use crate::containers::{ContainerError, HostConfig};
use crate::network::NetworkError;
use crate::network::named::NetworkRequest;
use crate::progress::Progress;

/// What shall be restored.
#[derive(Debug, Clone, Default)]
pub struct StackRequest {
    /// One backup of the group: `REPOSITORY:VOLUME[@WHICH]`.
    pub from: String,
    /// Start the containers that ran.
    pub start: bool,
}

/// What was restored.
#[derive(Debug, Clone, Default)]
pub struct StackRestored {
    pub volumes: Vec<RestoredVolume>,
    /// Names of networks that were made.
    pub networks: Vec<String>,
    /// Names of containers that were created.
    pub containers: Vec<String>,
    /// Those that were started.
    pub started: Vec<String>,
    pub warnings: Vec<String>,
}

/// What a group holds beside its volumes.
#[derive(Debug, Default)]
struct Members {
    containers: BTreeMap<String, ContainerManifest>,
    networks: BTreeMap<String, NetworkRequest>,
}

impl Backups {
    /// Restores volumes and containers.
    ///
    /// # Errors
    /// [`BackupError::VolumeExists`], [`BackupError::ContainerExists`], [`BackupError::MissingImages`] before anything
    /// begins; [`BackupError::NoStack`] for backups of other programs; those of [`Backups::restore`], of networks and of
    /// containers.
    pub fn restore_stack(
        &self,
        request: &StackRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<StackRestored, BackupError> {
        let reference = self.reference(&request.from)?;
        let row = &reference.repository;
        let lock = self.lock_of(row);
        let _shared = shared(&lock);
        let opened = self.open_row(row)?;
        let one = self.one(&request.from, &reference, &opened)?;
        let group = group_of(&one).ok_or_else(|| BackupError::NoStack {
            repository: row.name.clone(),
            id: one.id.to_string(),
        })?;
        let all = opened.backups().map_err(of(row))?;
        let mut found = Vec::new();
        for backup in all {
            if group_of(&backup) == Some(group) && volume_of(&backup).is_some() {
                found.push(Self::found(row, &opened, backup)?);
            }
        }
        found.sort_by(|a, b| volume_of(&a.backup).cmp(&volume_of(&b.backup)));
        let members = Self::members(&found)?;
        let mut done = StackRestored::default();
        self.check_free(&found, &members)?;
        let beside = Beside {
            holder: Some(Self::new_holder()),
            ..Beside::default()
        };
        let made = self.make_all(&found, &members, &beside, progress, cancel, &mut done);
        let released = beside.holder.map(|holder| self.volumes.release(&holder));
        let made = made.and(released.transpose().map(drop).map_err(Into::into));
        if let Err(error) = made {
            self.take_back(&done);
            return Err(error);
        }
        if request.start {
            for (name, container) in &members.containers {
                if container.running {
                    match self.containers.start(name) {
                        Ok(()) => done.started.push(name.clone()),
                        Err(error) => done
                            .warnings
                            .push(format!("container {name} does not start: {error}")),
                    }
                }
            }
        }
        Ok(done)
    }

    fn members(found: &[Found<'_>]) -> Result<Members, BackupError> {
        let mut members = Members::default();
        for one in found {
            let path = one
                .root
                .rsplit_once('/')
                .map_or(one.root.as_str(), |(directory, _)| directory);
            let mut text = Vec::new();
            match one.opened.cat(
                one.backup.id,
                Path::new(&format!("{path}/{CONTAINERS}")),
                &mut text,
            ) {
                Ok(()) => {}
                Err(backup::BackupError::NoPath { .. }) => continue,
                Err(error) => return Err(of_backup(one.row, &one.backup)(error)),
            }
            let manifest: ContainersManifest = parse("containers", &text)?;
            for container in manifest.containers {
                members.containers.insert(container.name.clone(), container);
            }
            for network in manifest.networks {
                members.networks.insert(network.name.clone(), network);
            }
        }
        Ok(members)
    }

    /// Refuses what would fail in the middle.
    fn check_free(&self, found: &[Found<'_>], members: &Members) -> Result<(), BackupError> {
        for name in found.iter().filter_map(|one| volume_of(&one.backup)) {
            match self.volumes.get(name) {
                Ok(_) => return Err(BackupError::VolumeExists(name.to_owned())),
                Err(VolumeError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for name in members.containers.keys() {
            match self.containers.find(name) {
                Ok(row) if row.name == *name => {
                    return Err(BackupError::ContainerExists(name.clone()));
                }
                Ok(_) | Err(ContainerError::NoSuch(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let missing: BTreeSet<String> = members
            .containers
            .values()
            .filter(|container| self.image_of(container).is_none())
            .map(|container| container.image.clone())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(BackupError::MissingImages(missing.into_iter().collect()))
        }
    }

    /// By what the image of a container is known here: by its name, or by its id when it has another name now.
    fn image_of(&self, container: &ContainerManifest) -> Option<String> {
        [&container.image, &container.image_id]
            .into_iter()
            .find(|reference| self.images.for_run(reference).is_ok())
            .cloned()
    }

    fn make_all(
        &self,
        found: &[Found<'_>],
        members: &Members,
        beside: &Beside,
        progress: &dyn Progress,
        cancel: &Cancel,
        done: &mut StackRestored,
    ) -> Result<(), BackupError> {
        for one in found {
            let Some(name) = volume_of(&one.backup) else {
                continue;
            };
            let restored = self.restore_new(one, name, beside, progress, cancel)?;
            done.warnings.extend(restored.warnings.iter().cloned());
            done.volumes.push(restored);
            sys::fault::step("stack-restore:volume");
        }
        for network in members.networks.values() {
            match self.networks.create(network.clone()) {
                Ok(_) => done.networks.push(network.name.clone()),
                Err(NetworkError::NameExists(_)) => {}
                Err(error) => return Err(error.into()),
            }
            sys::fault::step("stack-restore:network");
        }
        let restored: BTreeSet<&str> = done
            .volumes
            .iter()
            .map(|volume| volume.volume.as_str())
            .collect();
        for container in members.containers.values() {
            if cancel.is_cancelled() {
                return Err(BackupError::Cancelled);
            }
            for mount in &container.volumes {
                if !restored.contains(mount.name.as_str()) && self.volumes.get(&mount.name).is_err()
                {
                    done.warnings.push(format!(
                        "container {} has volume {}, which is not in the backup: it is new and empty",
                        container.name, mount.name
                    ));
                }
            }
            self.containers.create(self.request_for(container))?;
            done.containers.push(container.name.clone());
            progress.status(&container.name, "Created");
            sys::fault::step("stack-restore:container");
        }
        Ok(())
    }

    fn request_for(&self, container: &ContainerManifest) -> CreateRequest {
        let mut config = container.config.clone();
        let mut host_config = container.host_config.clone();
        config.image = self.image_of(container).unwrap_or_default();
        // Those that nobody named have names now.
        for mount in &container.volumes {
            if !names(&host_config, mount) {
                host_config
                    .mounts
                    .get_or_insert_default()
                    .push(MountRequest {
                        kind: "volume".to_owned(),
                        source: mount.name.clone(),
                        target: mount.destination.clone(),
                        read_only: !mount.rw,
                        ..MountRequest::default()
                    });
            }
            if let Some(volumes) = &mut config.volumes {
                volumes.remove(&mount.destination);
            }
        }
        // What they were given is among the mounts.
        host_config.volumes_from = None;
        CreateRequest {
            name: Some(container.name.clone()),
            config,
            host_config,
            networks: container.networks.clone(),
            platform: None,
        }
    }

    /// Removes what the call has made, the last first. What resists is logged and stays.
    fn take_back(&self, done: &StackRestored) {
        let stays = |what: &str, error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "{what} of a stack that was not restored stays");
        };
        for name in done.containers.iter().rev() {
            if let Err(error) = self.containers.remove(
                name,
                RemoveRequest {
                    force: true,
                    ..RemoveRequest::default()
                },
            ) {
                stays("a container", &error);
            }
        }
        for name in done.networks.iter().rev() {
            if let Err(error) = self.networks.remove(name) {
                stays("a network", &error);
            }
        }
        for volume in done.volumes.iter().rev() {
            let unprotected = self.volumes.protect(&volume.volume, false);
            let removed = unprotected
                .and_then(|()| self.volumes.dispose(&volume.volume, false, Disposal::Now));
            if let Err(error) = removed {
                stays("a volume", &error);
            }
        }
    }
}

/// Whether the request of a container mentions a volume by name.
fn names(host: &HostConfig, mount: &VolumeMount) -> bool {
    let bound = host.binds.iter().flatten().any(|bind| {
        let mut parts = bind.split(':');
        parts.next() == Some(&mount.name) && parts.next() == Some(&mount.destination)
    });
    bound
        || host
            .mounts
            .iter()
            .flatten()
            .any(|one| one.source == mount.name && one.target == mount.destination)
}

/// What the backups of one call have in common.
pub(super) fn group_of(backup: &Backup) -> Option<&str> {
    backup.tags.iter().find_map(|tag| tag.strip_prefix(GROUP))
}

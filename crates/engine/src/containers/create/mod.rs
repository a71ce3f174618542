//! `create`: from a request to a container that can be started.
//!
//! Steps, the row's status being the journal:
//! 1. the image's configuration is merged in and everything is checked; nothing is made yet
//! 2. row `creating`: the name is taken
//! 3. the directory, the volumes, their leases, their first contents
//! 4. row `created`: the commit point
//!
//! A failure or a crash before 4 is undone by [`Containers::undo_create`]: leases and the anonymous volumes made for the
//! container go, named volumes stay, the directory goes, then the row.

use std::collections::BTreeMap;

use jiff::Timestamp;
use store::ContainerRow;

use image_volumes::ImageVolumes;

use super::mounts::ResolvedMount;
use super::networking::EndpointRequest;
use super::sweep::discard;
use super::{Config, ContainerError, Containers, HostConfig, NetworkSettings, Status};
use crate::containers::mounts::name_as_present;
use crate::volume::users::note_created;

pub(super) mod check;
pub mod explain;
mod fields;
mod image_volumes;
pub(super) mod merge;
mod name;

#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    pub name: Option<String>,
    /// As the client sent it; the image's configuration is merged in by `create`.
    pub config: Config,
    pub host_config: HostConfig,
    /// Networks by name or id, when it is to be on others than that of its mode, or not just so.
    pub networks: BTreeMap<String, EndpointRequest>,
    /// `os[/arch[/variant]]`; must match the image when given.
    pub platform: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
    /// Volumes that were made because the image declares them: name and place.
    pub image_volumes: Vec<(String, String)>,
}

/// What Go prints for a time that never was, and clients expect.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

impl Containers {
    pub fn create(&self, request: CreateRequest) -> Result<Created, ContainerError> {
        let CreateRequest {
            name,
            mut config,
            mut host_config,
            networks,
            platform,
        } = request;
        let mut image = self.images.for_run(&config.image)?;
        let policy = ImageVolumes::parse(&host_config.image_volumes)?;
        let declared = policy.take(&mut image.config);
        check::platform(platform.as_deref(), &image, &config.image)?;
        merge::image_into(&mut config, &image.config);
        let mut warnings = fields::settle(&mut config, &mut host_config)?;
        merge::defaults(&mut host_config);
        warnings.extend(check::request(&config, &host_config)?);
        self.check_joined(&host_config)?;
        let endpoints = self.choose_networks(&config, &mut host_config, networks)?;
        let mut mounts = self.resolve_mounts(&config, &host_config)?;
        policy.settle(&declared, &mounts, &mut host_config);
        warnings.extend(self.settle_sources(&mut mounts, &image.lowers)?);
        Self::name_anonymous(&mut mounts);

        let id = store::ContainerId::random().to_string();
        if config.hostname.is_empty() && !matches!(host_config.network_mode.as_str(), "host") {
            id[..12].clone_into(&mut config.hostname);
        }
        let created_at = Timestamp::now().to_string();
        let network = NetworkSettings {
            mode: host_config.network_mode.clone(),
            endpoints,
            ..Default::default()
        };
        let mut row = ContainerRow {
            id: id.clone(),
            name: String::new(),
            image_id: image.id,
            image_ref: config.image.clone(),
            created_at,
            config: to_json(&config),
            host_config: to_json(&host_config),
            mounts: to_json(&mounts),
            network: Some(to_json(&network)),
            status: Status::Creating.as_str().to_owned(),
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            restart_count: 0,
            manually_stopped: false,
            auto_remove: host_config.auto_remove,
            log_path: if host_config.log_config.kind == "json-file" {
                self.paths.container_log(&id).to_string_lossy().into_owned()
            } else {
                String::new()
            },
            health: None,
        };
        self.take_name(&mut row, name.as_deref())?;
        sys::fault::step("container-create:row");
        let made = self.make_files(&id).and_then(|()| {
            sys::fault::step("container-create:files");
            self.prepare_mounts(&id, &mut mounts, &image.lowers)
        });
        if let Err(error) = made {
            self.undo_create(&id, &mounts)?;
            return Err(match error {
                // As above: a driver that does not exist is no missing image.
                ContainerError::Volume(error) if error.kind() == store::ErrorKind::NotFound => {
                    ContainerError::Invalid(error.to_string())
                }
                error => error,
            });
        }
        sys::fault::step("container-create:volumes");
        row.mounts = to_json(&mounts);
        row.status = Status::Created.as_str().to_owned();
        let command: Vec<String> = [&config.entrypoint, &config.cmd]
            .into_iter()
            .flatten()
            .flatten()
            .cloned()
            .collect();
        self.store
            .write(|tx| {
                note_created(tx, &row, &command, &mounts)?;
                // One of them may have been renamed since it was leased.
                name_as_present(tx, &self.paths, &mut row)?;
                tx.update_container(&row)
            })
            .map_err(ContainerError::Store)?;
        for mount in mounts.iter().filter(|mount| mount.fresh) {
            self.volumes.describe_anew(&mount.point.name);
        }
        self.publish(&row, "create", &[]);
        let image_volumes = mounts
            .iter()
            .filter(|mount| mount.made_here && declared.contains(&mount.point.destination))
            .map(|mount| (mount.point.name.clone(), mount.point.destination.clone()))
            .collect();
        Ok(Created {
            id,
            warnings,
            image_volumes,
        })
    }

    fn make_files(&self, id: &str) -> Result<(), ContainerError> {
        for directory in [
            self.paths.container(id),
            self.paths.container_upper(id),
            self.paths.container_work(id),
        ] {
            // Not synced: a start makes again what a power cut took.
            sys::durable::create_dir_unsynced(&directory, 0o710).map_err(|source| {
                ContainerError::Io {
                    action: format!("cannot make {}", directory.display()),
                    source,
                }
            })?;
        }
        // The upper directory becomes the container's `/`: its mode is what `stat /` shows inside.
        rustix::fs::chmod(
            self.paths.container_upper(id),
            rustix::fs::Mode::from_raw_mode(0o755),
        )
        .map_err(|source| ContainerError::Io {
            action: "cannot set the mode of the container's root".to_owned(),
            source: source.into(),
        })
    }

    /// Removes what a create that did not reach its commit point made. Idempotent.
    pub(crate) fn undo_create(
        &self,
        id: &str,
        mounts: &[ResolvedMount],
    ) -> Result<(), ContainerError> {
        self.abandon_mounts(id, mounts)?;
        self.store
            .write(|tx| discard(tx, id))
            .map_err(ContainerError::Store)?;
        self.sweeper.sweep(id);
        Ok(())
    }

    /// Networks and namespaces of other containers must exist when they are named.
    fn check_joined(&self, host: &HostConfig) -> Result<(), ContainerError> {
        for mode in [&host.network_mode, &host.pid_mode, &host.ipc_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                if other.is_empty() {
                    return Err(ContainerError::Invalid(
                        "invalid container format container:<name|id>".to_owned(),
                    ));
                }
                // Not "not found": clients take that for a missing image.
                self.find(other)
                    .map_err(|error| ContainerError::Invalid(error.to_string()))?;
            }
        }
        for link in host.links.iter().flatten() {
            let (container, _) = link.split_once(':').unwrap_or((link, link));
            self.find(container).map_err(|_| {
                ContainerError::Invalid(format!("could not get container for {container}"))
            })?;
        }
        Ok(())
    }
}

/// Stored JSON; our own types always serialise.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps have string keys")
}

//! `start`: hands the container to a new shim.
//!
//! Steps:
//! 1. volumes come up, addresses and ports are taken, /etc files are written
//! 2. the shim starts the container and answers: the commit point, for the container runs whether or not we live on
//! 3. the row says `running`
//!
//! A failure before 2 gives everything of 1 back. A crash between 2 and 3 leaves a running shim that
//! [`super::reconnect`] finds by its lock; a crash in 1 leaves things that the network's and the volumes' own recovery
//! find without an owner.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use store::ContainerRow;

use super::config::{Config, HostConfig, PortBinding};
use super::create::to_json;
use super::find::Columns as _;
use super::mounts::realise::volume_names;
use super::spec::Prepared;
use super::{ContainerError, Containers, Status};
use crate::network::PortRequest;
use crate::volume::users::note_use;

impl Containers {
    /// Err(`NotModified`) when it runs already.
    pub fn start(self: &Arc<Self>, reference: &str) -> Result<(), ContainerError> {
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        self.start_locked(&id)
    }

    /// The caller holds the container's verb lock.
    pub(crate) fn start_locked(self: &Arc<Self>, id: &str) -> Result<(), ContainerError> {
        let mut row = self.find(id)?;
        match row.status()? {
            Status::Running | Status::Restarting => return Err(ContainerError::NotModified),
            Status::Paused => {
                return Err(ContainerError::Conflict(
                    "cannot start a paused container, try unpause instead".to_owned(),
                ));
            }
            Status::Removing | Status::Dead => {
                return Err(ContainerError::Conflict(
                    "container is marked for removal and cannot be started".to_owned(),
                ));
            }
            Status::Creating | Status::Created | Status::Exited => {}
        }
        drop(
            self.live(id)
                .teardown
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // The shim of the previous run may still be tearing down what the next one makes again.
        self.wait_for_shim_end(id)?;
        let result = self.launch(&mut row);
        if let Err(error) = &result {
            self.record_failed_start(&mut row, error)?;
        }
        result
    }

    fn launch(self: &Arc<Self>, row: &mut ContainerRow) -> Result<(), ContainerError> {
        let config = row.config()?;
        let host = row.host_config()?;
        let mut mounts = self.stored_mounts(row)?;
        // What is wrong with them was said at the creation.
        drop(self.settle_sources(&mut mounts, &self.images.lowers(&row.image_id)?)?);
        row.mounts = to_json(&mounts);
        let launched = self
            .keep_volumes(row, &mounts)
            .and_then(|()| self.claim_volumes(row, &mounts))
            .and_then(|()| self.launch_with(row, &config, &host, &mounts));
        self.volumes.unclaim(&row.id);
        if launched.is_err() {
            self.give_back(&row.id, &mounts);
        }
        launched
    }

    fn launch_with(
        self: &Arc<Self>,
        row: &mut ContainerRow,
        config: &Config,
        host: &HostConfig,
        mounts: &[super::mounts::ResolvedMount],
    ) -> Result<(), ContainerError> {
        let id = row.id.clone();
        let (settings, mut joined) = self.join_networks(row, config, host)?;
        let (link_env, resolving) = self.write_etc(row, config, host, &settings)?;
        joined.network.resolver = self.resolver(&settings, resolving)?;
        let prepared = Prepared {
            lowers: self.images.lowers(&row.image_id)?,
            mounts: self.realise_mounts(&id, mounts, host)?,
            network: joined.network,
            link_env,
        };
        let spec = self.run_spec(row, config, host, prepared)?;
        let sockets = joined.sockets;
        let attached = std::mem::take(
            &mut *self
                .live(&id)
                .pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // Before the first byte of its output somebody may ask for it.
        self.write_names(row, config, &settings)?;
        sys::fault::step("container-start:shim");
        let (state, notices) = self.spawn_shim(&spec, sockets, attached)?;
        sys::fault::step("container-start:running");
        row.status = Status::Running.as_str().to_owned();
        row.pid = state.pid;
        row.health = self.adopt_health(&id, state.health.as_ref());
        row.started_at = state.started_at;
        row.restart_count = 0;
        row.exit_code = 0;
        row.error.clear();
        row.oom_killed = false;
        row.manually_stopped = false;
        row.network = Some(to_json(&settings));
        self.store.write(|tx| {
            note_use(tx, row, mounts, "mount")?;
            Ok::<_, ContainerError>(tx.update_container(row)?)
        })?;
        self.publish_mounts(row, mounts, "mount");
        self.publish_networks(row, "connect");
        self.publish(row, "start", &[]);
        self.refresh_hosts();
        self.hear(&id, notices);
        Ok(())
    }

    /// After a failed start or an exit: network and volumes are free again.
    pub(crate) fn give_back(&self, id: &str, mounts: &[super::mounts::ResolvedMount]) {
        match self.find(id).and_then(|row| row.network()) {
            Ok(settings) => self.remove_names(id, &settings),
            // What runs for a build has no names.
            Err(error) => tracing::debug!(container = id, %error, "no names to take away"),
        }
        if let Err(error) = self.network.disconnect_all(id) {
            tracing::warn!(container = id, %error, "network of a stopped container could not be released");
        }
        self.unmount_volumes(id, mounts);
    }

    /// Gives back the volumes of `mounts`.
    pub(super) fn unmount_volumes(&self, id: &str, mounts: &[super::mounts::ResolvedMount]) {
        for name in volume_names(mounts) {
            if let Err(error) = self.volumes.unmount(name, id) {
                tracing::warn!(container = id, volume = name, %error, "volume could not be unmounted");
            }
        }
    }

    fn record_failed_start(
        self: &Arc<Self>,
        row: &mut ContainerRow,
        error: &ContainerError,
    ) -> Result<(), ContainerError> {
        let code = match error {
            ContainerError::Start { code, .. } => *code,
            _ => 128,
        };
        row.exit_code = code;
        row.error = error.to_string();
        row.pid = 0;
        row.status = Status::Created.as_str().to_owned();
        // Attached clients of a start that failed see the end of their streams.
        self.live(&row.id)
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.store
            .write(|tx| Ok::<_, ContainerError>(tx.update_container(row)?))?;
        self.tell_exit(&row.id, code, Some(&row.error));
        if row.auto_remove {
            self.remove_locked(
                row,
                super::RemoveRequest {
                    force: true,
                    volumes: true,
                    link: false,
                },
            )?;
        }
        Ok(())
    }
}

/// `80` or `80/tcp` to `80/tcp`.
pub(super) fn with_protocol(port: &str) -> String {
    if port.contains('/') {
        port.to_owned()
    } else {
        format!("{port}/tcp")
    }
}

/// From `PortBindings` and `PublishAllPorts` to what the network is asked for.
pub(crate) fn port_requests(
    config: &Config,
    host: &HostConfig,
) -> Result<Vec<PortRequest>, ContainerError> {
    let mut wanted: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for (port, bindings) in &host.port_bindings {
        let bindings = bindings.clone().unwrap_or_default();
        let entry = wanted.entry(with_protocol(port)).or_default();
        if bindings.is_empty() {
            entry.push(PortBinding::default());
        }
        entry.extend(bindings);
    }
    if host.publish_all_ports {
        for port in config
            .exposed_ports
            .iter()
            .flatten()
            .map(|(port, _)| with_protocol(port))
        {
            wanted
                .entry(port)
                .or_insert_with(|| vec![PortBinding::default()]);
        }
    }
    let mut requests = Vec::new();
    for (port, bindings) in wanted {
        let invalid = || ContainerError::Invalid(format!("invalid port specification: \"{port}\""));
        let (number, protocol) = port.split_once('/').ok_or_else(invalid)?;
        let container_port = number
            .parse()
            .ok()
            .filter(|&number| number > 0)
            .ok_or_else(invalid)?;
        for binding in bindings {
            requests.push(PortRequest {
                host_ip: (!binding.host_ip.is_empty()).then(|| binding.host_ip.clone()),
                host_ports: host_ports(&binding.host_port)?,
                protocol: protocol.to_owned(),
                container_port,
            });
        }
    }
    Ok(requests)
}

/// Empty or `0`: any; a number; a range.
fn host_ports(text: &str) -> Result<Option<(u16, u16)>, ContainerError> {
    let invalid = || ContainerError::Invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    if first == 0 || last < first {
        return Err(invalid());
    }
    Ok(Some((first, last)))
}

/// What the start hands to the shim beside the spec.
pub(crate) type Attached = Vec<(shim_protocol::messages::AttachSpec, OwnedFd)>;

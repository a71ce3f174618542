//! What an engine does with the containers it finds at its start.
//!
//! | row | shim's lock | then |
//! |---|---|---|
//! | `creating` | | the create is undone |
//! | `removing` | | the removal is finished |
//! | active | held | the shim is asked, the row follows it, notices are heard again |
//! | active | free | the container has ended: `exit.json` tells how, else the code is 137 |
//! | not active | held | the engine died between the start and its record: as active, held |
//! | not active | free | what a start, or an end, that was cut short left is taken away: cgroups, mounts of volumes |
//!
//! Afterwards the network drops what belongs to no running container, mounts end of holders that are none, and restart
//! policies of containers that died with their shims (a reboot, a kill -9) are honoured. Containers with volumes of plugins
//! are started by a thread once the engine serves: it waits for no plugin.

use std::sync::Arc;

use shim_protocol::spec::RestartPolicy;
use shim_protocol::{Request, Response};

use super::cgroup::Group;
use super::find::Columns as _;
use super::shim::Shim;
use super::{ContainerError, Containers, Status};

/// What a start found.
#[derive(Debug, Default)]
pub(crate) struct Reconnected {
    /// Sentences on what was repaired.
    pub(crate) repaired: Vec<String>,
    /// Containers for [`Containers::start_later`].
    pub(crate) later: Vec<String>,
}

impl Containers {
    pub(crate) fn reconnect(self: &Arc<Self>) -> Result<Reconnected, ContainerError> {
        let mut repaired = self.recover_build_steps()?;
        let mut running = Vec::new();
        let mut died = Vec::new();
        let mut stopped = Vec::new();
        let grouped = Group::all(self.paths.tag()).map_err(|source| ContainerError::Io {
            action: "cannot look for control groups".to_owned(),
            source,
        })?;
        for row in self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.containers()?))?
        {
            let short = &row.id[..12];
            match row.status()? {
                Status::Creating => {
                    self.undo_create(&row.id, &self.stored_mounts(&row)?)?;
                    repaired.push(format!(
                        "unfinished creation of container {short} was undone"
                    ));
                }
                Status::Removing => {
                    self.wait_for_shim_end(&row.id)?;
                    self.finish_remove(&row)?;
                    repaired.push(format!("removal of container {short} was finished"));
                }
                status => {
                    if self.shim_lives(&row.id)? && self.hear_again(&row.id)? {
                        if !status.is_active() {
                            repaired.push(format!("container {short} was found running"));
                        }
                        self.restore_networks(&row)?;
                        running.push(row);
                    } else if status.is_active() {
                        died.push(row);
                    } else {
                        if grouped.contains(&row.id) {
                            repaired.extend(self.sweep_up(&row));
                        }
                        self.volumes.abandon_mounts(&row.id)?;
                        if status == Status::Exited && row.manually_stopped {
                            stopped.push(row);
                        }
                    }
                }
            }
        }
        repaired.extend(self.recover_mounts()?);
        let live: Vec<String> = running.iter().map(|row| row.id.clone()).collect();
        for sentence in self.network.reconcile(&live)? {
            repaired.push(sentence);
        }
        self.sweep_names(&live)?;
        for row in &running {
            self.repeat_network(row);
        }
        let mut later = Vec::new();
        for row in &died {
            self.lost(&row.id)?;
        }
        self.volumes
            .end_mounts_of_others(&live.into_iter().collect())?;
        for row in died {
            let host = row.host_config()?;
            repaired.push(format!(
                "container {} had ended while no engine was there",
                &row.id[..12]
            ));
            let again = match super::spec::restart_policy(&host) {
                RestartPolicy::Always => true,
                RestartPolicy::UnlessStopped => !row.manually_stopped,
                // How it ended is not known, which is a failure.
                RestartPolicy::OnFailure { .. } => !row.manually_stopped,
                RestartPolicy::No => false,
            };
            // A shim that lived to write its exit has already judged the policy.
            let judged = self.find(&row.id).is_ok_and(|row| row.error.is_empty());
            if again && !judged {
                self.start_again(&row, &mut later, &mut repaired)?;
            }
        }
        if self.config.permanent {
            self.start_always(&stopped, &mut later, &mut repaired)?;
        }
        Ok(Reconnected { repaired, later })
    }

    /// Starts a container now, or notes it for later if a plugin has to be asked.
    fn start_again(
        self: &Arc<Self>,
        row: &store::ContainerRow,
        later: &mut Vec<String>,
        repaired: &mut Vec<String>,
    ) -> Result<(), ContainerError> {
        let mounts = self.stored_mounts(row)?;
        let asks = |mount: &super::mounts::ResolvedMount| {
            mount.point.kind == "volume" && self.volumes.is_elsewhere(&mount.point.driver)
        };
        if mounts.iter().any(asks) {
            later.push(row.id.clone());
            return Ok(());
        }
        match self.start(&row.id) {
            Ok(()) => repaired.push(format!("container {} was started again", &row.id[..12])),
            Err(error) => tracing::warn!(container = row.id, %error, "restart policy"),
        }
        Ok(())
    }

    /// Starts containers that need plugins, once these may be called: one thread for each, so that a plugin that hangs
    /// keeps only its own.
    pub(crate) fn start_later(self: &Arc<Self>, ids: Vec<String>) {
        for id in ids {
            let containers = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name(format!("start-{}", &id[..9]))
                .spawn(move || match containers.start(&id) {
                    Ok(()) => tracing::info!(container = id, "started again"),
                    Err(error) => tracing::warn!(container = id, %error, "restart policy"),
                });
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread to start a container");
            }
        }
    }

    /// A shim died with an engine that had not recorded its start, or had recorded its end.
    fn sweep_up(&self, row: &store::ContainerRow) -> Option<String> {
        match self.sweep_leftovers(row) {
            Ok(()) => Some(format!(
                "what was left of container {} was taken away",
                &row.id[..12]
            )),
            // A shim that has told its end already cleans up by itself.
            Err(error) => {
                tracing::debug!(container = row.id, %error, "leftovers stay");
                None
            }
        }
    }

    /// `always` means also after a stop by hand, once the host's containers are started again; an engine that a client
    /// started for a moment is not that.
    fn start_always(
        self: &Arc<Self>,
        stopped: &[store::ContainerRow],
        later: &mut Vec<String>,
        repaired: &mut Vec<String>,
    ) -> Result<(), ContainerError> {
        for row in stopped {
            if super::spec::restart_policy(&row.host_config()?) != RestartPolicy::Always {
                continue;
            }
            self.start_again(row, later, repaired)?;
        }
        Ok(())
    }

    /// False when the shim left meanwhile.
    fn hear_again(self: &Arc<Self>, id: &str) -> Result<bool, ContainerError> {
        match self.converse(id, &Request::Watch) {
            Ok((stream, Response::State { state })) => {
                self.adopt_state(id, &state)?;
                self.hear(id, Shim { stream, pid: 0 });
                Ok(true)
            }
            Ok((_, other)) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            Err(ContainerError::NotRunning(_)) => {
                self.wait_for_shim_end(id)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

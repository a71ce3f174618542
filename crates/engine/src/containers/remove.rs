//! `rm`: the container, its directory and its leases; volumes only where the rules say so.
//!
//! Steps, the row's status being the journal:
//! 1. row `removing`: the commit point; from here on a crash is finished by the next start
//! 2. leases go, and with `volumes` the anonymous volumes that nobody else holds
//! 3. the row goes, the name is free, and it is recorded that the files shall go
//! 4. the files go, in the background ([`super::sweep`])
//!
//! Bind sources and named volumes are never touched.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use store::ContainerRow;

use super::find::Columns as _;
use super::sweep::discard;
use super::{ContainerError, Containers, Status, WaitCondition};

#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveRequest {
    pub force: bool,
    /// Also anonymous volumes that nobody else uses.
    pub volumes: bool,
    /// Remove the link named by the reference instead of a container.
    pub link: bool,
}

const SIGKILL: i32 = 9;

impl Containers {
    pub fn remove(
        self: &Arc<Self>,
        reference: &str,
        request: RemoveRequest,
    ) -> Result<(), ContainerError> {
        if request.link {
            return self.remove_link(reference);
        }
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let mut row = self.find(&id)?;
        let status = row.status()?;
        if status.is_active() {
            if !request.force {
                let how = match status {
                    Status::Paused => "container is paused and must be unpaused first",
                    Status::Restarting => {
                        "container is restarting: stop the container before removing or force remove"
                    }
                    _ => "container is running: stop the container before removing or force remove",
                };
                return Err(ContainerError::Conflict(format!(
                    "cannot remove container \"/{}\": {how}",
                    row.name
                )));
            }
            // With --rm the exit itself removes; it must not do so behind our back.
            row = self.change_state(&id, |row| {
                row.auto_remove = false;
                row.manually_stopped = true;
            })?;
            self.kill_and_wait(&row)?;
            row = self.find(&id)?;
        }
        let removed = self.remove_locked(&mut row, request);
        drop(verb);
        removed
    }

    fn kill_and_wait(self: &Arc<Self>, row: &ContainerRow) -> Result<(), ContainerError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.wait(
            &row.id,
            WaitCondition::Down,
            Box::new(move |outcome| {
                // The receiver is gone when the kill itself failed.
                drop(sender.send(outcome));
            }),
        )?;
        self.send_kill(&row.id, SIGKILL, true)?;
        self.publish_kill(row, SIGKILL);
        if row.status()? == Status::Paused {
            self.thaw(&row.id)?;
        }
        receiver.recv_timeout(std::time::Duration::from_secs(30)).map(drop).map_err(|_| {
            ContainerError::Conflict(format!(
                "could not kill container \"{}\": tried to kill container, but did not receive an exit event",
                row.id
            ))
        })
    }

    /// The caller holds the verb lock and the container does not run.
    pub(crate) fn remove_locked(
        self: &Arc<Self>,
        row: &mut ContainerRow,
        request: RemoveRequest,
    ) -> Result<(), ContainerError> {
        drop(
            self.live(&row.id)
                .teardown
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // Step 1. The wish to remove volumes is kept with it, for a recovery must act alike.
        row.status = Status::Removing.as_str().to_owned();
        row.auto_remove = request.volumes;
        self.store
            .write(|tx| Ok::<_, ContainerError>(tx.update_container(row)?))?;
        sys::fault::step("container-remove:row");
        self.finish_remove(row)
    }

    /// Steps 2 to 4; idempotent, also run by recovery.
    pub(crate) fn finish_remove(&self, row: &ContainerRow) -> Result<(), ContainerError> {
        self.release_volumes(&row.id, row.auto_remove)?;
        if row.auto_remove {
            // The leases of a removal that a crash cut short may have gone before their volumes.
            for mount in self.stored_mounts(row)? {
                if mount.anonymous
                    && mount.point.kind == "volume"
                    && let Err(error) = self.volumes.remove_anonymous_if_unused(&mount.point.name)
                {
                    tracing::warn!(volume = mount.point.name, %error, "anonymous volume stays");
                }
            }
        }
        sys::fault::step("container-remove:volumes");
        self.store
            .write(|tx| Ok::<_, ContainerError>(discard(tx, &row.id)?))?;
        sys::fault::step("container-remove:forgotten");
        self.sweeper.sweep(&row.id);
        self.publish(row, "destroy", &[]);
        let code = self
            .live(&row.id)
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(row.exit_code);
        self.tell(&row.id, code, None, |_| true);
        self.drop_execs(&row.id);
        self.forget(&row.id);
        Ok(())
    }

    /// `rm --link /a/b`: container `a` no longer knows `b`.
    fn remove_link(&self, reference: &str) -> Result<(), ContainerError> {
        let invalid = || ContainerError::Invalid(format!("Could not get parent for {reference}"));
        let (parent, alias) = reference
            .trim_start_matches('/')
            .split_once('/')
            .ok_or_else(invalid)?;
        let mut row = self.find(parent)?;
        let mut host = row.host_config()?;
        let links = host.links.get_or_insert_with(Vec::new);
        let before = links.len();
        links.retain(|link| {
            link.split_once(':')
                .map_or(link.as_str(), |(_, alias)| alias)
                != alias
        });
        if links.len() == before {
            return Err(invalid());
        }
        row.host_config = super::create::to_json(&host);
        self.store
            .write(|tx| Ok::<_, ContainerError>(tx.update_container(&row)?))?;
        self.refresh_hosts();
        Ok(())
    }

    /// A container event with Docker's attributes: name, image, labels and `extra`.
    pub(crate) fn publish(&self, row: &ContainerRow, action: &str, extra: &[(&str, &str)]) {
        let mut attributes: BTreeMap<String, String> =
            row.config().map(|config| config.labels).unwrap_or_default();
        attributes.insert("image".to_owned(), row.image_ref.clone());
        attributes.insert("name".to_owned(), row.name.clone());
        attributes.extend(
            extra
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned())),
        );
        self.events
            .publish("container", action, row.id.clone(), attributes);
    }

    /// Docker's volume events of a start or an end: one for each volume mounted.
    pub(crate) fn publish_mounts(
        &self,
        row: &ContainerRow,
        mounts: &[super::mounts::ResolvedMount],
        action: &str,
    ) {
        for mount in mounts.iter().filter(|mount| mount.point.kind == "volume") {
            let mut attributes = BTreeMap::from([
                ("driver".to_owned(), mount.point.driver.clone()),
                ("container".to_owned(), row.id.clone()),
            ]);
            if action == "mount" {
                attributes.insert("destination".to_owned(), mount.point.destination.clone());
                attributes.insert("read/write".to_owned(), mount.point.rw.to_string());
                attributes.insert("propagation".to_owned(), mount.point.propagation.clone());
            }
            self.events
                .publish("volume", action, mount.point.name.clone(), attributes);
        }
    }
}

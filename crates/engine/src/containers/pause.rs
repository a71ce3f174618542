//! `pause` and `unpause`: the cgroup freezer.

use std::sync::{Arc, PoisonError};

use shim_protocol::Request;

use super::find::Columns as _;
use super::{ContainerError, Containers, Status};

impl Containers {
    pub fn pause(self: &Arc<Self>, reference: &str) -> Result<(), ContainerError> {
        self.freeze(
            reference,
            &Request::Pause { unwell: true },
            Status::Paused,
            "pause",
        )
    }

    pub fn unpause(self: &Arc<Self>, reference: &str) -> Result<(), ContainerError> {
        self.freeze(reference, &Request::Unpause, Status::Running, "unpause")
    }

    fn freeze(
        &self,
        reference: &str,
        request: &Request,
        after: Status,
        action: &str,
    ) -> Result<(), ContainerError> {
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        let refused = match (row.status()?, after) {
            (Status::Running, Status::Paused) | (Status::Paused, Status::Running) => None,
            (Status::Paused, Status::Paused) => Some(format!("Container {id} is already paused")),
            (Status::Restarting, _) => Some(format!(
                "Container {id} is restarting, wait until the container is running"
            )),
            (_, Status::Running) => Some(format!("Container {id} is not paused")),
            _ => Some(format!("container {id} is not running")),
        };
        if let Some(text) = refused {
            return Err(ContainerError::Conflict(text));
        }
        self.ask(&id, request)?;
        let unwell = (after == Status::Paused).then(|| self.end_health(&row));
        let row = self.change_state(&id, |row| {
            if let Some(health) = unwell {
                row.health = health;
            }
            after.as_str().clone_into(&mut row.status);
        })?;
        self.publish(&row, action, &[]);
        Ok(())
    }
}

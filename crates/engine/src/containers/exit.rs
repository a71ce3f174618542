//! The end of a container: recorded, told to whoever waits, then cleaned up.
//!
//! The order matters: the row first, so that an acknowledged exit survives us; then the waiters, because people wait
//! for them; then what is slow.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use shim_protocol::{ExitRecord, StateRecord};

use super::create::to_json;
use super::find::Columns as _;
use super::mounts::ResolvedMount;
use super::mounts::attach::end_lease;
use super::{ContainerError, Containers, RemoveRequest, Status, WaitCondition, WaitOutcome};
use crate::volume::users::note_use;

impl Containers {
    /// pid 1 ended and its shim will not start it again. What failed is done when it is told once more.
    pub(crate) fn ended(
        self: &Arc<Self>,
        id: &str,
        exit: &ExitRecord,
    ) -> Result<(), ContainerError> {
        let live = self.live(id);
        let teardown = live.teardown.lock().unwrap_or_else(PoisonError::into_inner);
        let row = match self.find(id) {
            Ok(row) => row,
            // Removed meanwhile.
            Err(ContainerError::NoSuch(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if row.status()?.is_active() {
            self.record_end(&row, exit)?;
        }
        drop(teardown);
        if row.auto_remove {
            let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
            let request = RemoveRequest {
                force: true,
                volumes: true,
                link: false,
            };
            match self.find(id) {
                Ok(mut row) => self.remove_locked(&mut row, request)?,
                Err(ContainerError::NoSuch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn record_end(
        self: &Arc<Self>,
        row: &store::ContainerRow,
        exit: &ExitRecord,
    ) -> Result<(), ContainerError> {
        let id = row.id.as_str();
        let mounts = self.stored_mounts(row)?;
        let health = self.end_health(row);
        let change = |row: &mut store::ContainerRow| {
            row.health = health;
            Status::Exited.as_str().clone_into(&mut row.status);
            row.pid = 0;
            row.exit_code = exit.code;
            row.oom_killed = exit.oom_killed;
            row.finished_at.clone_from(&exit.finished_at);
            row.restart_count = exit.restart_count;
            row.error.clone_from(&exit.error);
            row.mounts = to_json(&without_temporary(&mounts));
        };
        let row = self.change_state_and(id, change, |tx, row| {
            note_use(tx, row, &mounts, "unmount")?;
            end_temporary(tx, id, &mounts)
        })?;
        sys::fault::step("container-exit:recorded");
        self.publish_death(&row, exit);
        self.tell_exit(id, exit.code, None);
        self.give_back(id, &mounts);
        self.publish_networks(&row, "disconnect");
        self.publish_mounts(&row, &mounts, "unmount");
        self.forget_execs(id);
        self.nudge_followers(&row);
        self.refresh_hosts();
        Ok(())
    }

    /// pid 1 ended and the shim waits to start it again.
    pub(crate) fn restarting(
        self: &Arc<Self>,
        id: &str,
        exit: &ExitRecord,
    ) -> Result<(), ContainerError> {
        let live = self.live(id);
        let teardown = live.teardown.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.find(id)?;
        let mounts = self.stored_mounts(&found)?;
        let health = self.end_health(&found);
        let passing: Vec<ResolvedMount> = (mounts.iter().filter(|mount| mount.temporary))
            .cloned()
            .collect();
        let change = |row: &mut store::ContainerRow| {
            row.health = health;
            row.status = Status::Restarting.as_str().to_owned();
            row.pid = 0;
            row.exit_code = exit.code;
            row.oom_killed = exit.oom_killed;
            row.finished_at.clone_from(&exit.finished_at);
            row.restart_count = exit.restart_count;
            row.error.clone_from(&exit.error);
            if !passing.is_empty() {
                row.mounts = to_json(&without_temporary(&mounts));
            }
        };
        let row = self.change_state_and(id, change, |tx, row| {
            note_use(tx, row, &passing, "unmount")?;
            end_temporary(tx, id, &mounts)
        })?;
        self.unmount_volumes(id, &passing);
        self.publish_mounts(&row, &passing, "unmount");
        drop(teardown);
        self.publish_death(&row, exit);
        // As in Docker: it has ended for those who wait, although it is about to run again.
        self.tell(id, exit.code, None, |condition| {
            matches!(
                condition,
                WaitCondition::NotRunning | WaitCondition::NextExit
            )
        });
        Ok(())
    }

    /// With what Docker tells of it: the exit code and how many seconds it ran.
    fn publish_death(&self, row: &store::ContainerRow, exit: &ExitRecord) {
        let moment = |text: &str| text.parse::<Timestamp>().ok();
        let seconds = match (moment(&row.started_at), moment(&exit.finished_at)) {
            (Some(started), Some(finished)) => finished.duration_since(started).as_secs().max(0),
            _ => 0,
        };
        let attributes = [
            ("execDuration", seconds.to_string()),
            ("exitCode", exit.code.to_string()),
        ];
        let attributes = attributes
            .each_ref()
            .map(|(key, value)| (*key, value.as_str()));
        self.publish(row, "die", &attributes);
    }

    pub(crate) fn restarted(
        self: &Arc<Self>,
        id: &str,
        state: &StateRecord,
    ) -> Result<(), ContainerError> {
        let health = self.adopt_health(id, state.health.as_ref());
        let row = self.change_state(id, |row| {
            row.health = health;
            row.status = Status::Running.as_str().to_owned();
            row.pid = state.pid;
            row.started_at.clone_from(&state.started_at);
            row.restart_count = state.restart_count;
        })?;
        self.publish(&row, "start", &[]);
        Ok(())
    }

    /// Changes the state columns of an existing row.
    pub(crate) fn change_state(
        &self,
        id: &str,
        change: impl FnOnce(&mut store::ContainerRow),
    ) -> Result<store::ContainerRow, ContainerError> {
        self.change_state_and(id, change, |_, _| Ok(()))
    }

    /// As [`Containers::change_state`], with more in the same transaction.
    fn change_state_and(
        &self,
        id: &str,
        change: impl FnOnce(&mut store::ContainerRow),
        also: impl FnOnce(&store::WriteTx<'_>, &store::ContainerRow) -> Result<(), store::StoreError>,
    ) -> Result<store::ContainerRow, ContainerError> {
        self.store.write(|tx| {
            let mut row = tx
                .container(id)?
                .ok_or_else(|| ContainerError::NoSuch(id.to_owned()))?;
            change(&mut row);
            tx.update_container(&row)?;
            also(tx, &row)?;
            Ok(row)
        })
    }

    /// Answers everybody who waits for an end (not for a removal).
    pub(crate) fn tell_exit(&self, id: &str, code: i32, error: Option<&str>) {
        self.tell(id, code, error, |condition| {
            condition != WaitCondition::Removed
        });
        // Those who wait for the removal learn this code then.
        *self
            .live(id)
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    pub(crate) fn tell(
        &self,
        id: &str,
        code: i32,
        error: Option<&str>,
        which: impl Fn(WaitCondition) -> bool,
    ) {
        let live = self.live(id);
        let told: Vec<_> = {
            let mut waiters = live.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            let (told, stay) = std::mem::take(&mut *waiters)
                .into_iter()
                .partition(|waiter: &super::wait::Waiter| which(waiter.condition));
            *waiters = stay;
            told
        };
        for waiter in told {
            (waiter.tell)(WaitOutcome {
                code,
                error: error.map(str::to_owned),
            });
        }
    }
}

fn without_temporary(mounts: &[ResolvedMount]) -> Vec<ResolvedMount> {
    let kept = mounts.iter().filter(|mount| !mount.temporary);
    kept.cloned().collect()
}

fn end_temporary(
    tx: &store::WriteTx<'_>,
    id: &str,
    mounts: &[ResolvedMount],
) -> Result<(), store::StoreError> {
    let kept = without_temporary(mounts);
    mounts
        .iter()
        .filter(|mount| mount.temporary)
        .try_for_each(|mount| end_lease(tx, id, mount, &kept))
}

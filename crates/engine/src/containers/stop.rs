//! `stop`: the stop signal, a grace period, then SIGKILL.

use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use shim_protocol::Request;
use store::ContainerRow;

use super::find::Columns as _;
use super::kill::signal_number;
use super::{ContainerError, Containers, Status, WaitCondition};

/// Seconds between the stop signal and SIGKILL when nobody says otherwise.
const DEFAULT_TIMEOUT: i64 = 10;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Containers {
    /// `timeout` in seconds, -1 waits for ever, `None` takes the container's own (default 10).
    /// Err(`NotModified`) when it does not run.
    pub fn stop(
        self: &Arc<Self>,
        reference: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), ContainerError> {
        let row = self.find(reference)?;
        let live = self.live(&row.id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&row.id)?;
        self.stop_locked(&row, timeout, signal)
    }

    /// The caller holds the verb lock; returns when the container has ended.
    pub(crate) fn stop_locked(
        self: &Arc<Self>,
        row: &ContainerRow,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), ContainerError> {
        let status = row.status()?;
        if !status.is_active() {
            return Err(ContainerError::NotModified);
        }
        let config = row.config()?;
        let signal = match signal
            .or(config.stop_signal.as_deref())
            .filter(|name| !name.is_empty())
        {
            Some(name) => signal_number(name)?,
            None => SIGTERM,
        };
        let timeout = timeout.or(config.stop_timeout).unwrap_or(DEFAULT_TIMEOUT);
        let (sender, receiver) = mpsc::channel();
        self.wait(
            &row.id,
            WaitCondition::Down,
            Box::new(move |outcome| {
                // The receiver is gone when the stop itself failed.
                drop(sender.send(outcome));
            }),
        )?;
        let row = self.change_state(&row.id, |row| row.manually_stopped = true)?;
        self.send_kill(&row.id, signal, true)?;
        self.publish_kill(&row, signal);
        if status == Status::Paused {
            // A frozen process cannot act on a signal.
            self.thaw(&row.id)?;
        }
        let ended = match u64::try_from(timeout) {
            Ok(seconds) => receiver.recv_timeout(Duration::from_secs(seconds)).is_ok(),
            Err(_) => receiver.recv().is_ok(),
        };
        if !ended {
            self.send_kill(&row.id, SIGKILL, true)?;
            self.publish_kill(&row, SIGKILL);
            // SIGKILL cannot be refused; only a process stuck in the kernel outlives it.
            receiver.recv_timeout(Duration::from_secs(30)).map_err(|_| {
                ContainerError::Conflict(format!(
                    "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                    row.id
                ))
            })?;
        }
        self.publish(&row, "stop", &[]);
        Ok(())
    }

    /// Lets a paused container's processes see their signals; one that runs, or has ended, needs no thawing.
    pub(crate) fn thaw(&self, id: &str) -> Result<(), ContainerError> {
        match self.ask(id, &Request::Unpause) {
            Ok(_) | Err(ContainerError::NotRunning(_) | ContainerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A shim that is gone has ended its container, so that is no error.
    pub(crate) fn send_kill(
        &self,
        id: &str,
        signal: i32,
        stop: bool,
    ) -> Result<(), ContainerError> {
        match self.ask(id, &Request::Kill { signal, stop }) {
            Ok(_) | Err(ContainerError::NotRunning(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

//! `stop`: the stop signal, a grace period, then SIGKILL.

use super::{ContainerError, Containers};

impl Containers {
    /// `timeout` in seconds, -1 waits for ever, `None` takes the container's own (default 10).
    /// Err(`NotModified`) when it does not run.
    pub fn stop(&self, reference: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<(), ContainerError> {
        todo!()
    }
}

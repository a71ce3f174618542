//! `restart`: stop, then start.

use std::sync::{Arc, PoisonError};

use super::{ContainerError, Containers};

impl Containers {
    pub fn restart(
        self: &Arc<Self>,
        reference: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), ContainerError> {
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        // `--rm` means the end of the container, and this is not its end.
        let auto_remove = self.find(&id)?.auto_remove;
        if auto_remove {
            self.change_state(&id, |row| row.auto_remove = false)?;
        }
        let row = self.find(&id)?;
        let result = match self.stop_locked(&row, timeout, signal) {
            Ok(()) | Err(ContainerError::NotModified) => self.start_locked(&id),
            Err(error) => Err(error),
        };
        if auto_remove {
            self.change_state(&id, |row| row.auto_remove = true)?;
        }
        result?;
        self.publish(&self.find(&id)?, "restart", &[]);
        Ok(())
    }
}

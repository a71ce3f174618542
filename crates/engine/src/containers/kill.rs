//! `kill`: one signal to the container's first process.

use super::{ContainerError, Containers};

impl Containers {
    /// `signal`: name with or without SIG, or number; `None` is SIGKILL.
    pub fn kill(&self, reference: &str, signal: Option<&str>) -> Result<(), ContainerError> {
        todo!()
    }
}

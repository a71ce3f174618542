//! `start`: hands the container to a new shim.

use super::{ContainerError, Containers};

impl Containers {
    /// Err(`NotModified`) when it runs already.
    pub fn start(&self, reference: &str) -> Result<(), ContainerError> {
        todo!()
    }
}

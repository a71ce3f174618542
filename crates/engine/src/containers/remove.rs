//! `rm`: the container, its directory and its leases; volumes only where the rules say so.

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveRequest {
    pub force: bool,
    /// Also anonymous volumes that nobody else uses.
    pub volumes: bool,
    /// Remove the link named by the reference instead of a container.
    pub link: bool,
}

impl Containers {
    pub fn remove(&self, reference: &str, request: RemoveRequest) -> Result<(), ContainerError> {
        todo!()
    }
}

//! `diff`: what a container changed in its root, mounts excluded.

use super::{ContainerError, Containers};

impl Containers {
    /// Kind as in the API (0 modified, 1 added, 2 deleted) and path, sorted by path.
    pub fn changes(&self, reference: &str) -> Result<Vec<(u8, String)>, ContainerError> {
        todo!()
    }
}

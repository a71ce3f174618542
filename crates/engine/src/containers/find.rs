//! From what a user typed (id, unique prefix, name) to a container's row.

use store::ContainerRow;

use super::{ContainerError, Containers};

impl Containers {
    /// Full name first, then full id, then unique prefix, as Docker does.
    pub(crate) fn find(&self, reference: &str) -> Result<ContainerRow, ContainerError> {
        todo!()
    }
}

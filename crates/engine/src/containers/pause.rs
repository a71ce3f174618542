//! `pause` and `unpause`: the cgroup freezer.

use super::{ContainerError, Containers};

impl Containers {
    pub fn pause(&self, reference: &str) -> Result<(), ContainerError> {
        todo!()
    }

    pub fn unpause(&self, reference: &str) -> Result<(), ContainerError> {
        todo!()
    }
}

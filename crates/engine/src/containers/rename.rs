//! `rename`.

use super::{ContainerError, Containers};

impl Containers {
    pub fn rename(&self, reference: &str, name: &str) -> Result<(), ContainerError> {
        todo!()
    }
}

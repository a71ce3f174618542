//! `export`: the container's root as one tar stream, mounts excluded.

use std::io::Write;

use super::{ContainerError, Containers};

impl Containers {
    pub fn export(&self, reference: &str, out: &mut (dyn Write + Send)) -> Result<(), ContainerError> {
        todo!()
    }
}

//! `restart`: stop, then start.

use super::{ContainerError, Containers};

impl Containers {
    pub fn restart(&self, reference: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<(), ContainerError> {
        todo!()
    }
}

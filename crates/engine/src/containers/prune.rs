//! `container prune`: all that do not run.

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct PruneReport {
    pub deleted: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

impl Containers {
    /// `filters`: `until`, `label`, `label!`.
    pub fn prune(&self, filters: &super::list::Filters) -> Result<PruneReport, ContainerError> {
        todo!()
    }
}

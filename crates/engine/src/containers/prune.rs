//! `container prune`: all that do not run and pass the filters.

use std::sync::Arc;

use super::list::Filters;
use super::{ContainerError, Containers, ListRequest, RemoveRequest};

#[derive(Debug, Clone, Default)]
pub struct PruneReport {
    pub deleted: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

impl Containers {
    /// `filters`: `until`, `label`, `label!`.
    pub fn prune(self: &Arc<Self>, filters: &Filters) -> Result<PruneReport, ContainerError> {
        if let Some(unknown) = filters
            .0
            .keys()
            .find(|key| !matches!(key.as_str(), "until" | "label" | "label!"))
        {
            return Err(ContainerError::Invalid(format!(
                "invalid filter '{unknown}'"
            )));
        }
        let request = ListRequest {
            all: true,
            size: true,
            ..ListRequest::default()
        };
        let until = filters.until()?;
        let mut report = PruneReport::default();
        for container in self.list(&request)? {
            let old_enough = until.is_none_or(|until| container.created < until.as_second());
            if container.status.is_active()
                || !old_enough
                || !filters.labels_match(&container.labels)
            {
                continue;
            }
            match self.remove(&container.id, RemoveRequest::default()) {
                Ok(()) => {
                    report.reclaimed += u64::try_from(container.size_rw.unwrap_or(0)).unwrap_or(0);
                    report.deleted.push(container.id);
                }
                // Started or removed since it was listed.
                Err(ContainerError::Conflict(_) | ContainerError::NoSuch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.events.publish_prune("container", report.reclaimed);
        Ok(report)
    }
}

//! `ps`: containers that pass a filter.

use std::collections::BTreeMap;

use super::{ContainerError, Containers, MountPoint, NetworkSettings, Status};

/// Filters as the API has them: key → accepted values.
#[derive(Debug, Clone, Default)]
pub struct Filters(pub BTreeMap<String, Vec<String>>);

#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    pub all: bool,
    /// Only the newest n, running or not.
    pub limit: Option<usize>,
    pub size: bool,
    pub filters: Filters,
}

#[derive(Debug, Clone)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub image_ref: String,
    pub image_id: String,
    /// As `ps` shows it, unquoted and untruncated.
    pub command: String,
    /// Unix seconds.
    pub created: i64,
    pub status: Status,
    /// `Up 3 seconds`, `Exited (0) 2 minutes ago`.
    pub status_text: String,
    pub labels: BTreeMap<String, String>,
    pub mounts: Vec<MountPoint>,
    pub network: NetworkSettings,
    pub size_rw: Option<i64>,
    pub size_root_fs: Option<i64>,
}

impl Containers {
    /// Newest first.
    pub fn list(&self, request: &ListRequest) -> Result<Vec<ContainerSummary>, ContainerError> {
        todo!()
    }
}

//! `commit`: a container's changes as a new image; volumes are never captured.

use super::{Config, ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub comment: String,
    pub author: String,
    /// Dockerfile instructions (`VOLUME /x`), from `--change`.
    pub changes: Vec<String>,
    pub pause: bool,
    /// Overrides of the container's configuration.
    pub config: Option<Config>,
}

impl Containers {
    /// The new image's id.
    pub fn commit(&self, reference: &str, request: CommitRequest) -> Result<String, ContainerError> {
        todo!()
    }
}

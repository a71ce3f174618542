//! `update`: limits and restart policy, also of a running container.

use serde::Deserialize;

use super::{ContainerError, Containers};

/// Body of `POST /containers/{id}/update`: only the fields that are there change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct UpdateRequest(pub serde_json::Map<String, serde_json::Value>);

impl Containers {
    /// Warnings.
    pub fn update(&self, reference: &str, request: UpdateRequest) -> Result<Vec<String>, ContainerError> {
        todo!()
    }
}

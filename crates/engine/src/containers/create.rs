//! `create`: from a request to a container that can be started.

use super::{Config, ContainerError, Containers, HostConfig};

#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    pub name: Option<String>,
    /// As the client sent it; the image's configuration is merged in by `create`.
    pub config: Config,
    pub host_config: HostConfig,
    /// `os[/arch[/variant]]`; must match the image when given.
    pub platform: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
}

impl Containers {
    pub fn create(&self, request: CreateRequest) -> Result<Created, ContainerError> {
        todo!()
    }
}

//! `attach`: a connection to a container's streams.

use std::os::fd::OwnedFd;

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Docker's notation (`ctrl-p,ctrl-q`); `None` is the default.
    pub detach_keys: Option<String>,
}

impl Containers {
    /// A connected stream socket that carries raw bytes when the container has a terminal (the flag), else frames with
    /// Docker's stream header; what is written to it goes to stdin. Before the start it waits for it.
    pub fn attach(&self, reference: &str, request: &AttachRequest) -> Result<(OwnedFd, bool), ContainerError> {
        todo!()
    }

    pub fn resize(&self, reference: &str, rows: u16, columns: u16) -> Result<(), ContainerError> {
        todo!()
    }
}

//! `exec`: another process in a running container.

use std::os::fd::OwnedFd;

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub tty: bool,
    pub privileged: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub detach_keys: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ExecStart {
    pub detach: bool,
    pub tty: bool,
    /// Rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// A created exec.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    pub(crate) container: String,
    pub(crate) request: ExecRequest,
    pub(crate) pid: i32,
    pub(crate) running: bool,
    pub(crate) exit_code: Option<i32>,
}

#[derive(Debug, Clone)]
pub struct ExecDetail {
    pub id: String,
    pub container: String,
    pub request: ExecRequest,
    pub pid: i32,
    pub running: bool,
    pub exit_code: Option<i32>,
}

impl Containers {
    /// The exec's id.
    pub fn exec_create(&self, reference: &str, request: ExecRequest) -> Result<String, ContainerError> {
        todo!()
    }

    /// The streams (see [`Containers::attach`]) unless detached. Returns when the process has started.
    pub fn exec_start(&self, exec: &str, start: ExecStart) -> Result<Option<OwnedFd>, ContainerError> {
        todo!()
    }

    pub fn exec_inspect(&self, exec: &str) -> Result<ExecDetail, ContainerError> {
        todo!()
    }

    pub fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<(), ContainerError> {
        todo!()
    }
}

//! `top`: the processes of a container, as `ps` on the host shows them.

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Containers {
    /// `ps_args`: default `-ef`.
    pub fn top(&self, reference: &str, ps_args: Option<&str>) -> Result<Processes, ContainerError> {
        todo!()
    }
}

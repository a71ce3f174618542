//! `wait`: a callback at the end of a container.

use std::fmt;

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// Answers at once when it does not run.
    NotRunning,
    /// The next exit, also of a container that has not started yet.
    NextExit,
    Removed,
}

#[derive(Debug, Clone)]
pub struct WaitOutcome {
    pub code: i32,
    /// Set when the container could not be started.
    pub error: Option<String>,
}

pub(crate) struct Waiter {
    pub(crate) condition: WaitCondition,
    pub(crate) tell: Box<dyn FnOnce(WaitOutcome) + Send>,
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiter({:?})", self.condition)
    }
}

impl Containers {
    /// Registers `tell`; when this returns Ok it will be called exactly once, perhaps before the return.
    pub fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
        tell: Box<dyn FnOnce(WaitOutcome) + Send>,
    ) -> Result<(), ContainerError> {
        todo!()
    }
}

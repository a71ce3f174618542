//! `wait`: a callback at the end of a container.

use std::fmt;
use std::sync::PoisonError;

use super::find::Columns as _;
use super::{ContainerError, Containers};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// Answers at once when it does not run; an exit counts also where a restart follows.
    NotRunning,
    /// As `NotRunning`, but only an exit that no restart follows.
    Down,
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
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let mut waiters = live.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the waiters' lock: an exit is recorded before its waiters are told, so none is missed.
        let row = self.find(&id)?;
        let at_once = matches!(condition, WaitCondition::NotRunning | WaitCondition::Down);
        if at_once && !row.status()?.is_active() {
            drop(waiters);
            tell(WaitOutcome {
                code: row.exit_code,
                error: None,
            });
            return Ok(());
        }
        waiters.push(Waiter { condition, tell });
        Ok(())
    }
}

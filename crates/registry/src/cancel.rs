//! One switch that ends the requests and transfers of one operation, whatever they wait for.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::error::RegistryError;

/// How soon it is noticed that nobody waits for a registry that says nothing.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// Shared by the transfers that stand and fall together.
#[derive(Debug, Default)]
pub struct Cancel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    given_up: bool,
    children: Vec<Weak<Cancel>>,
}

impl Cancel {
    /// A switch for a part of the operation: it ends with the whole, and the whole goes on without it.
    #[must_use]
    pub fn child(&self) -> Arc<Self> {
        let child = Arc::new(Self::default());
        let mut state = self.lock();
        if state.given_up {
            drop(state);
            child.give_up();
        } else {
            state.children.retain(|child| child.strong_count() > 0);
            state.children.push(Arc::downgrade(&child));
        }
        child
    }

    /// Ends them; those that wait notice at once.
    pub fn give_up(&self) {
        let children = {
            let mut state = self.lock();
            state.given_up = true;
            std::mem::take(&mut state.children)
        };
        self.changed.notify_all();
        for child in children.iter().filter_map(Weak::upgrade) {
            child.give_up();
        }
    }

    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.lock().given_up
    }

    /// Waits before another attempt; whether it was given up meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), time, |state| !state.given_up)
            .unwrap_or_else(PoisonError::into_inner);
        state.given_up
    }

    /// Does `work`, which may block for long, and leaves it alone once it was given up: its thread ends when it does.
    pub(crate) fn unless_given_up<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        if self.is_given_up() {
            return Err(RegistryError::Cancelled);
        }
        let (sender, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("request".to_owned())
            // Nobody takes the result of work that was left alone.
            .spawn(move || drop(sender.send(work())))
            .map_err(|source| RegistryError::Local { source })?;
        loop {
            match done.recv_timeout(PATIENCE) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) if self.is_given_up() => {
                    return Err(RegistryError::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let panic = thread.join().expect_err("it ended without a result");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_the_whole() {
        let whole = Cancel::default();
        let (one, other) = (whole.child(), whole.child());
        one.give_up();
        assert!(one.is_given_up() && !whole.is_given_up() && !other.is_given_up());
        let below = other.child();
        whole.give_up();
        assert!(below.is_given_up() && whole.child().is_given_up());
        assert!(below.pause(Duration::from_secs(600)));
    }

    #[test]
    fn what_blocks_is_left_alone() {
        let cancel = Arc::new(Cancel::default());
        assert_eq!(cancel.unless_given_up(|| 7).expect("done"), 7);
        let (never, waiting) = sync_channel::<()>(0);
        let giving_up = Arc::clone(&cancel);
        let left = cancel.unless_given_up(move || {
            giving_up.give_up();
            waiting.recv()
        });
        assert!(matches!(left, Err(RegistryError::Cancelled)));
        drop(never);
        let late = cancel.unless_given_up(|| unreachable!("it was given up before"));
        assert!(matches!(late, Err::<(), _>(RegistryError::Cancelled)));
    }
}

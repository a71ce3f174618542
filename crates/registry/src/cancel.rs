//! One switch that ends the transfers of one operation.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

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
}

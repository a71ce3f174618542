//! One switch that ends everything that a long call is doing: its client has gone, or one of its parts has failed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

type Hook = Box<dyn FnOnce() + Send>;

/// Shared by all threads of a call.
#[derive(Default)]
pub struct Cancel(Mutex<State>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    hooks: BTreeMap<u64, Hook>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// As long as it lives, the hook is called when the call is cancelled.
#[derive(Debug)]
pub(crate) struct Hooked<'a> {
    cancel: &'a Cancel,
    number: u64,
}

impl Drop for Hooked<'_> {
    fn drop(&mut self) {
        drop(self.cancel.lock().hooks.remove(&self.number));
    }
}

impl Cancel {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what runs; what has not begun will not.
    pub fn cancel(&self) {
        let hooks = {
            let mut state = self.lock();
            state.cancelled = true;
            std::mem::take(&mut state.hooks)
        };
        for hook in hooks.into_values() {
            hook();
        }
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Calls `hook` when the call is cancelled, at once if it is already.
    pub(crate) fn on_cancel(&self, hook: Hook) -> Hooked<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            hook();
        } else {
            state.hooks.insert(number, hook);
        }
        Hooked {
            cancel: self,
            number,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn hooks_are_called_once_and_only_while_they_are_held() {
        let called = Arc::new(AtomicUsize::new(0));
        let hook = || -> Hook {
            let called = Arc::clone(&called);
            Box::new(move || {
                called.fetch_add(1, Ordering::Relaxed);
            })
        };
        let cancel = Cancel::default();
        drop(cancel.on_cancel(hook()));
        let held = cancel.on_cancel(hook());
        cancel.cancel();
        cancel.cancel();
        drop(held);
        let late = cancel.on_cancel(hook());
        drop(late);
        assert_eq!(called.load(Ordering::Relaxed), 2);
        assert!(cancel.is_cancelled());
    }
}

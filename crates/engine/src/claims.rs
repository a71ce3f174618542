//! Who works at what: of one thing at a time only one call, such as a layer that is fetched or a volume that is backed up.
//!
//! Whoever comes while another one is at it waits, or leaves. All that a call needs is claimed at once or not at all, so that no
//! two calls wait for each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::cancel::Cancel;

/// What is being worked at.
#[derive(Debug, Clone)]
pub(crate) struct Claims<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    taken: Mutex<BTreeSet<T>>,
    released: Condvar,
}

/// Some of it, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Claimed<T: Ord> {
    shared: Arc<Shared<T>>,
    held: Vec<T>,
}

impl<T> Shared<T> {
    fn taken(&self) -> MutexGuard<'_, BTreeSet<T>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            taken: Mutex::default(),
            released: Condvar::new(),
        }))
    }
}

impl<T: Ord + Clone + Send + 'static> Claims<T> {
    /// Waits until nobody has any of them.
    pub(crate) fn claim(&self, wanted: Vec<T>) -> Claimed<T> {
        self.claim_unless(&Cancel::default(), wanted, |_| {})
            .expect("nobody cancels it")
    }

    /// As [`Claims::claim`], calling `wait` once with the position of one that somebody else has. `None`: cancelled.
    pub(crate) fn claim_unless(
        &self,
        cancel: &Cancel,
        wanted: Vec<T>,
        wait: impl FnOnce(usize),
    ) -> Option<Claimed<T>> {
        let shared = Arc::clone(&self.0);
        let _woken = cancel.on_cancel(Box::new({
            let shared = Arc::clone(&shared);
            move || {
                // With the lock: whoever looked just now, and saw no reason to leave, waits already.
                let _taken = shared.taken();
                shared.released.notify_all();
            }
        }));
        let busy = |taken: &BTreeSet<T>| wanted.iter().position(|one| taken.contains(one));
        let mut taken = shared.taken();
        if let Some(first) = busy(&taken) {
            wait(first);
            taken = shared
                .released
                .wait_while(taken, |taken| {
                    busy(taken).is_some() && !cancel.is_cancelled()
                })
                .unwrap_or_else(PoisonError::into_inner);
        }
        if cancel.is_cancelled() {
            return None;
        }
        taken.extend(wanted.iter().cloned());
        drop(taken);
        Some(Claimed {
            shared,
            held: wanted,
        })
    }
}

impl<T: Ord> Drop for Claimed<T> {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        for one in &self.held {
            taken.remove(one);
        }
        drop(taken);
        self.shared.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn of(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// The same names somewhere.
    fn at(place: u8, names: &[&str]) -> Vec<(u8, String)> {
        names.iter().map(|&name| (place, name.to_owned())).collect()
    }

    /// A thread that waits for them; what it says: that it waits for one, then whether it got all.
    fn come(
        claims: &Claims<(u8, String)>,
        wanted: Vec<(u8, String)>,
        cancel: &Arc<Cancel>,
    ) -> mpsc::Receiver<Result<usize, bool>> {
        let (says, said) = mpsc::channel();
        let (claims, cancel) = (claims.clone(), Arc::clone(cancel));
        std::thread::spawn(move || {
            let claimed = claims.claim_unless(&cancel, wanted, |which| {
                says.send(Ok(which)).unwrap();
            });
            says.send(Err(claimed.is_some())).unwrap();
        });
        said
    }

    #[test]
    fn the_second_waits_for_the_first_and_others_do_not() {
        let claims = Claims::default();
        let (here, there) = (1, 2);
        let cancel = Arc::new(Cancel::default());
        let nobody = |_| panic!("nobody has it");
        let first = claims.claim_unless(&cancel, at(here, &["a", "b"]), nobody);
        let other = claims.claim_unless(&cancel, at(here, &["c"]), nobody);
        let elsewhere = claims.claim_unless(&cancel, at(there, &["a"]), nobody);
        assert!(first.is_some() && other.is_some() && elsewhere.is_some());
        let second = come(&claims, at(here, &["b", "c"]), &cancel);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Ok(0)));
        drop(first);
        // It holds nothing while it waits for the rest.
        let back = claims.claim_unless(&cancel, at(here, &["b"]), nobody);
        drop(back);
        drop(other);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Err(true)));
    }

    #[test]
    fn whoever_waits_may_leave() {
        let claims = Claims::default();
        let here = 1;
        let first = claims.claim_unless(&Cancel::default(), at(here, &["a"]), |_| {});
        let cancel = Arc::new(Cancel::default());
        let second = come(&claims, at(here, &["a"]), &cancel);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Ok(0)));
        cancel.cancel();
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Err(false)));
        drop(first);
        let third = claims.claim_unless(&Cancel::default(), at(here, &["a"]), |_| {
            panic!("nobody has it")
        });
        assert!(third.is_some());
    }

    #[test]
    fn one_at_a_time_for_each() {
        let claims = Claims::default();
        let first = claims.claim(of(&["a", "b"]));
        drop(claims.claim(of(&["c"])));
        let released = Arc::new(AtomicBool::new(false));
        let waiting = std::thread::spawn({
            let (claims, released) = (claims.clone(), Arc::clone(&released));
            move || {
                drop(claims.claim(of(&["b", "c"])));
                assert!(released.load(Ordering::SeqCst));
            }
        });
        released.store(true, Ordering::SeqCst);
        drop(first);
        waiting.join().expect("it came after the release");
    }
}

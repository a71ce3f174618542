//! Who fetches which layer: two pulls that want the same one fetch it once.
//!
//! Everything a pull needs is claimed at once or not at all, so that no two pulls wait for each other.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Layers, by chain id, that are being fetched by this engine.
#[derive(Debug, Default)]
pub(in super::super) struct Claims {
    taken: Mutex<BTreeSet<String>>,
    released: Condvar,
}

/// Held while layers are fetched and published.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    claims: &'a Claims,
    chains: BTreeSet<String>,
}

impl Claims {
    /// Waits until nobody fetches any of them.
    pub(super) fn claim(&self, chains: BTreeSet<String>) -> Claimed<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .released
            .wait_while(taken, |taken| !taken.is_disjoint(&chains))
            .unwrap_or_else(PoisonError::into_inner);
        taken.extend(chains.iter().cloned());
        Claimed {
            claims: self,
            chains,
        }
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut taken = self
            .claims
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for chain in &self.chains {
            taken.remove(chain);
        }
        drop(taken);
        self.claims.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn of(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_at_a_time_for_each() {
        let claims = Arc::new(Claims::default());
        let first = claims.claim(of(&["a", "b"]));
        drop(claims.claim(of(&["c"])));
        let released = Arc::new(AtomicBool::new(false));
        let waiting = std::thread::spawn({
            let (claims, released) = (Arc::clone(&claims), Arc::clone(&released));
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

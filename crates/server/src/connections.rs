//! How many connections are served at once.
//!
//! Beyond the limit a new client takes the place of the one that has been idle for longest: somebody who opens many
//! connections and asks nothing shuts nobody out. When none is idle the new one is closed at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};
use tokio::task::AbortHandle;

/// More are not served, however many descriptors there are.
const MOST: usize = 4096;
/// Descriptors that are kept for what the engine does.
const RESERVED: usize = 512;
/// A connection takes its socket, and the watch for its end.
const DESCRIPTORS: usize = 2;

/// The connections of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// In the order in which they came.
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    requests: Arc<AtomicUsize>,
    /// Missing until its task exists.
    task: Option<AbortHandle>,
}

/// A place that a connection has; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Connections,
    number: u64,
    requests: Arc<AtomicUsize>,
}

/// A request that is worked on: its connection is not idle.
#[derive(Debug)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Connections {
    pub(crate) fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile)
            .current
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let limit = (descriptors.saturating_sub(RESERVED) / DESCRIPTORS).clamp(16, MOST);
        Self::with_limit(limit)
    }

    fn with_limit(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            places: Mutex::default(),
        }))
    }

    pub(crate) fn count(&self) -> usize {
        self.places().taken.len()
    }

    /// A place for a new connection; `None` when all are busy.
    pub(crate) fn enter(&self) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.0.limit {
            let idle = places.taken.iter().find_map(|(&number, taken)| {
                let idle = taken.requests.load(Ordering::Acquire) == 0;
                taken.task.as_ref().filter(|_| idle).map(|_| number)
            })?;
            if let Some(task) = places.taken.remove(&idle).and_then(|taken| taken.task) {
                task.abort();
            }
        }
        let number = places.next;
        places.next += 1;
        let requests = Arc::new(AtomicUsize::new(0));
        let taken = Taken {
            requests: Arc::clone(&requests),
            task: None,
        };
        places.taken.insert(number, taken);
        Some(Place {
            connections: self.clone(),
            number,
            requests,
        })
    }

    /// Tells which task serves the connection: from now on it can be ended.
    pub(crate) fn served_by(&self, number: u64, task: AbortHandle) {
        if let Some(taken) = self.places().taken.get_mut(&number) {
            taken.task = Some(task);
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Until what is returned is dropped the connection is not idle.
    pub(crate) fn busy(&self) -> Busy {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.requests))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.places().taken.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_busy_ones_stay() {
        let connections = Connections::with_limit(2);
        let enter = || {
            let place = connections.enter()?;
            let task = tokio::spawn(std::future::pending::<()>());
            connections.served_by(place.number(), task.abort_handle());
            Some((place, task))
        };
        let first = enter().expect("room");
        let second = enter().expect("room");
        let working = first.0.busy();
        let third = enter().expect("the second is idle");
        assert!(second.1.await.expect_err("ended").is_cancelled());
        let also_working = third.0.busy();
        assert!(enter().is_none(), "all are busy");
        drop(working);
        enter().expect("the first is idle now");
        assert!(first.1.await.expect_err("ended").is_cancelled());
        drop(also_working);
        drop((first.0, second.0, third.0));
    }
}

//! What happened, in Docker's event vocabulary: kept for a while, and sent to subscribers as it happens.
//!
//! Subscribers are callbacks and must not block; the server's push into a channel of bounded length. What they share is
//! one copy of each event.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// How many past events `since` can reach. Docker keeps 256, which a busy engine makes in a second.
pub const KEPT: usize = 4096;

#[derive(Debug, Clone)]
pub struct Event {
    /// `container`, `volume`, `image`, `network`, `daemon`.
    pub kind: &'static str,
    /// `create`, `start`, `die`, `mount` …
    pub action: String,
    /// Container or image id, volume or network name.
    pub actor: String,
    pub attributes: BTreeMap<String, String>,
    pub time: Timestamp,
}

type Subscriber = Box<dyn Fn(&Arc<Event>) -> bool + Send>;

#[derive(Default)]
struct Inner {
    kept: VecDeque<Arc<Event>>,
    subscribers: Vec<Subscriber>,
}

/// The event log. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Inner>>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Records an event that happens now and tells every subscriber.
    pub fn publish(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event {
            kind,
            action: action.into(),
            actor: actor.into(),
            attributes,
            // Under the lock: times are in the order in which events are told.
            time: Timestamp::now(),
        });
        inner.subscribers.retain(|subscriber| subscriber(&event));
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(event);
    }

    /// Tells that unused objects of a kind were removed, and how many bytes that gave back.
    pub fn publish_prune(&self, kind: &'static str, reclaimed: u64) {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.publish(kind, "prune", "", attributes);
    }

    /// How many are told of events; those that have gone since the last event count, too.
    pub fn listeners(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .subscribers
            .len()
    }

    /// Calls `subscriber` for every kept event not older than `since` and then for each new one, with none lost in
    /// between, until it returns `false`.
    pub fn subscribe(&self, since: Option<Timestamp>, subscriber: Subscriber) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since {
            for event in inner.kept.iter().filter(|event| event.time >= since) {
                if !subscriber(event) {
                    return;
                }
            }
        }
        inner.subscribers.push(subscriber);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_subscriber_gets_kept_events_then_new_ones_until_it_declines() {
        let events = Events::default();
        let before = Timestamp::now();
        events.publish("volume", "create", "a", BTreeMap::new());
        let (sender, receiver) = mpsc::channel();
        events.subscribe(
            Some(before),
            Box::new(move |event| {
                sender.send(event.actor.clone()).expect("the test listens");
                event.actor != "b"
            }),
        );
        events.publish("volume", "create", "b", BTreeMap::new());
        events.publish("volume", "create", "c", BTreeMap::new());
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}

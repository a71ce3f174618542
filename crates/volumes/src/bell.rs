//! Rung when a thread that sleeps has something to do.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::held;

/// There is one listener, the last one.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Option<Sender<()>>>);

impl Bell {
    /// Hears of everything from now on, and of the end when the volumes are dropped.
    pub(crate) fn listen(&self) -> Receiver<()> {
        let (bell, news) = channel();
        *held(&self.0) = Some(bell);
        news
    }

    pub(crate) fn ring(&self) {
        if let Some(bell) = &*held(&self.0)
            && bell.send(()).is_err()
        {
            tracing::debug!("nobody listens any more");
        }
    }
}

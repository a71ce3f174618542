//! Tells volume plugins what they could not be told at once: at the start, whenever something is added, and again and
//! again while a plugin does not answer. The thread ends with the engine.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use volumes::Volumes;

/// Before a plugin that did not answer is told again; each time twice as long.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Lets plugins be called from now on, and starts the thread.
pub(crate) fn start(volumes: &Arc<Volumes>) -> std::io::Result<()> {
    let news = volumes.on_owed();
    volumes.admit_plugins();
    let volumes: Weak<Volumes> = Arc::downgrade(volumes);
    thread::Builder::new()
        .name("plugins".to_owned())
        .stack_size(512 << 10)
        .spawn(move || {
            let mut pause = FIRST;
            while let Some(volumes) = volumes.upgrade() {
                let left = volumes.settle().unwrap_or_else(|error| {
                    tracing::warn!(%error, "volume plugins cannot be told of unmounts");
                    1
                });
                drop(volumes);
                let heard = if left == 0 {
                    pause = FIRST;
                    news.recv().map_err(|_| RecvTimeoutError::Disconnected)
                } else {
                    tracing::info!(left, "volume plugins are still to be told of unmounts");
                    news.recv_timeout(pause)
                };
                match heard {
                    Ok(()) => pause = FIRST,
                    Err(RecvTimeoutError::Timeout) => pause = LONGEST.min(pause * 2),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // Many at once are one piece of news.
                while news.try_recv().is_ok() {}
            }
        })
        .map(drop)
}

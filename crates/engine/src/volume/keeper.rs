//! Empties the trash in time: at the start, whenever something is put into it, and when the next thing expires. Downloads
//! that nobody goes on with are looked after on the same occasions.
//!
//! Deletions are journaled by the volumes crate; the thread only decides when to look. It ends with the engine.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use volumes::Volumes;

use crate::images::Images;

/// The limit depends on how full the filesystem is, which nobody tells.
const AT_MOST: Duration = Duration::from_secs(600);

/// Starts the thread.
pub(crate) fn start(volumes: &Arc<Volumes>, images: &Arc<Images>) -> std::io::Result<()> {
    let news = volumes.on_trash();
    let volumes: Weak<Volumes> = Arc::downgrade(volumes);
    let images = Arc::downgrade(images);
    thread::Builder::new()
        .name("trash".to_owned())
        .spawn(move || {
            while let Some(volumes) = volumes.upgrade() {
                let next = volumes.tidy_trash().unwrap_or_else(|error| {
                    tracing::warn!(%error, "the trash cannot be tidied");
                    None
                });
                drop(volumes);
                if let Some(Err(error)) = images.upgrade().map(|images| images.tidy_downloads()) {
                    tracing::warn!(%error, "old downloads stay");
                }
                match news.recv_timeout(until(next)) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // Many removals at once are one piece of news.
                while news.try_recv().is_ok() {}
            }
        })
        .map(drop)
}

fn until(next: Option<Timestamp>) -> Duration {
    let Some(next) = next else { return AT_MOST };
    let left = Timestamp::now().duration_until(next);
    // A little later than sooner, so that it has expired when we look.
    let left = Duration::try_from(left).unwrap_or_default() + Duration::from_millis(50);
    left.min(AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_longer_than_the_longest_nor_in_the_past() {
        assert_eq!(until(None), AT_MOST);
        assert_eq!(until(Some(Timestamp::MAX)), AT_MOST);
        assert!(until(Some(Timestamp::UNIX_EPOCH)) < Duration::from_secs(1));
    }
}

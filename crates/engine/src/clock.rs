//! What a thread that keeps schedules sleeps by: until something is due, or somebody rings.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long such a thread sleeps at most while there are schedules: clocks are set, machines are suspended.
pub(crate) const LOOK: Duration = Duration::from_secs(30);
/// How long it sleeps when nothing will ever be due.
pub(crate) const IDLE: Duration = Duration::from_secs(3600);

/// What wakes the thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<(Mutex<Bell>, Condvar)>);

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    over: bool,
}

impl Clock {
    /// Something may be due sooner than the thread knows.
    pub(crate) fn ring(&self) {
        self.set(|bell| bell.rung = true);
    }

    pub(crate) fn stop(&self) {
        self.set(|bell| bell.over = true);
    }

    /// Starts the thread: it calls `look`, which does what is due, and sleeps for as long as `look` says that nothing will be.
    /// It ends when it is stopped, and with `kept`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start<T: Send + Sync + 'static>(
        &self,
        name: &str,
        kept: &Arc<T>,
        mut look: impl FnMut(&Arc<T>) -> Duration + Send + 'static,
    ) -> io::Result<()> {
        let clock = self.clone();
        let kept = Arc::downgrade(kept);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                loop {
                    let Some(alive) = kept.upgrade() else {
                        return;
                    };
                    let time = look(&alive);
                    drop(alive);
                    if !clock.sleep(time) {
                        return;
                    }
                }
            })
            .map(drop)
    }

    fn set(&self, change: impl FnOnce(&mut Bell)) {
        let (bell, woken) = &*self.0;
        change(&mut bell.lock().unwrap_or_else(PoisonError::into_inner));
        woken.notify_all();
    }

    /// Until it rings or the time is over; false: for ever.
    fn sleep(&self, time: Duration) -> bool {
        let (bell, woken) = &*self.0;
        let bell = bell.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut bell, _) = woken
            .wait_timeout_while(bell, time, |bell| !bell.rung && !bell.over)
            .unwrap_or_else(PoisonError::into_inner);
        bell.rung = false;
        !bell.over
    }
}

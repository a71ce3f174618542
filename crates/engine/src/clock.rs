//! What a thread that keeps schedules sleeps by: until something is due, or somebody rings.
//!
//! A thread that cannot do its work waits before it tries again, ever longer and whoever rings: what keeps failing, such as a
//! full disk below the records, is often what rings.

use std::error::Error;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long such a thread sleeps at most while there are schedules: clocks are set, machines are suspended.
pub(crate) const LOOK: Duration = Duration::from_secs(30);
/// How long it sleeps when nothing will ever be due.
pub(crate) const IDLE: Duration = Duration::from_secs(3600);

/// How long it waits after it has failed; each time twice as long, and at most [`LOOK`].
const FIRST: Duration = Duration::from_secs(1);

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
    pub(crate) fn start<T: Send + Sync + 'static, E: Error + 'static>(
        &self,
        name: &'static str,
        kept: &Arc<T>,
        look: impl FnMut(&Arc<T>) -> Result<Duration, E> + Send + 'static,
    ) -> io::Result<()> {
        self.start_with(name, kept, FIRST, look)
    }

    fn start_with<T: Send + Sync + 'static, E: Error + 'static>(
        &self,
        name: &'static str,
        kept: &Arc<T>,
        first: Duration,
        mut look: impl FnMut(&Arc<T>) -> Result<Duration, E> + Send + 'static,
    ) -> io::Result<()> {
        let clock = self.clone();
        let kept = Arc::downgrade(kept);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut pause = first;
                loop {
                    let Some(alive) = kept.upgrade() else {
                        return;
                    };
                    let looked = look(&alive);
                    drop(alive);
                    let goes_on = match looked {
                        Ok(time) => {
                            pause = first;
                            clock.sleep(time)
                        }
                        Err(error) => {
                            let error: &dyn Error = &error;
                            tracing::error!(error, thread = name, "schedules cannot be kept");
                            let waited = clock.wait(pause);
                            pause = longer(pause);
                            waited
                        }
                    };
                    if !goes_on {
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

    /// Until the time is over; false: for ever.
    fn wait(&self, time: Duration) -> bool {
        let (bell, woken) = &*self.0;
        let bell = bell.lock().unwrap_or_else(PoisonError::into_inner);
        let (bell, _) = woken
            .wait_timeout_while(bell, time, |bell| !bell.over)
            .unwrap_or_else(PoisonError::into_inner);
        !bell.over
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LOOK)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn who_rings_does_not_hurry_what_fails() {
        let clock = Clock::default();
        let kept = Arc::new(());
        let (looks, looked) = mpsc::channel();
        let ringing = clock.clone();
        let an_hour = Duration::from_secs(3600);
        clock
            .start_with("failing", &kept, an_hour, move |_| {
                // As a run does whose beginning cannot be recorded.
                ringing.ring();
                looks.send(()).ok();
                Err::<Duration, _>(io::Error::other("the disk is full"))
            })
            .unwrap();
        looked.recv_timeout(PATIENCE).unwrap();
        clock.ring();
        clock.stop();
        // The thread ends, and has not looked again.
        assert_eq!(
            looked.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected)
        );
    }

    #[test]
    fn who_rings_wakes_what_works() {
        let clock = Clock::default();
        let kept = Arc::new(());
        let (looks, looked) = mpsc::channel();
        clock
            .start("working", &kept, move |_| {
                looks.send(()).ok();
                Ok::<_, io::Error>(IDLE)
            })
            .unwrap();
        looked.recv_timeout(PATIENCE).unwrap();
        clock.ring();
        looked.recv_timeout(PATIENCE).unwrap();
        clock.stop();
        assert_eq!(
            looked.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected)
        );
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pause = FIRST;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(pause.as_secs());
            pause = longer(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}

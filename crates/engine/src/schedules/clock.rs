//! The thread that looks which schedules are due, and gives each run a thread of its own: a repository that hangs holds up
//! nobody else's.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::state::Decision;
use super::when::When;
use super::{ScheduleError, Schedules};
use crate::cancel::Cancel;
use crate::progress::Silent;

/// How long it sleeps at most while there are schedules: clocks are set, machines are suspended.
const LOOK: Duration = Duration::from_secs(30);
/// How long it sleeps when nothing will ever be due.
const IDLE: Duration = Duration::from_secs(3600);

/// What wakes the thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<(Mutex<Bell>, Condvar)>);

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    over: bool,
}

impl Clock {
    /// Something may be due sooner than the thread knows.
    pub(super) fn ring(&self) {
        self.set(|bell| bell.rung = true);
    }

    pub(super) fn stop(&self) {
        self.set(|bell| bell.over = true);
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

/// Starts the thread, which ends with the value.
pub(super) fn start(schedules: &Arc<Schedules>) -> Result<(), ScheduleError> {
    let clock = schedules.clock.clone();
    let schedules = Arc::downgrade(schedules);
    thread::Builder::new()
        .name("schedules".to_owned())
        .spawn(move || keep(&clock, &schedules))
        .map(drop)
        .map_err(ScheduleError::Thread)
}

fn keep(clock: &Clock, schedules: &Weak<Schedules>) {
    loop {
        let Some(alive) = schedules.upgrade() else {
            return;
        };
        let time = look(&alive, Timestamp::now()).unwrap_or_else(|error| {
            tracing::error!(%error, "schedules of backups cannot be kept");
            LOOK
        });
        drop(alive);
        if !clock.sleep(time) {
            return;
        }
    }
}

/// Begins what is due; how long nothing will be.
fn look(schedules: &Arc<Schedules>, now: Timestamp) -> Result<Duration, ScheduleError> {
    let all = schedules.list()?;
    let mut sleep = if all.is_empty() { IDLE } else { LOOK };
    for schedule in all {
        let when = When::of(&schedule.plan)?;
        match schedule.state.decide(&schedule.name, &when, now) {
            Decision::Run { due } => begin(schedules, &schedule.name, &schedule.plan.to, due)?,
            Decision::Wait(Some(next)) => {
                let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                sleep = sleep.min(left);
            }
            Decision::Wait(None) => {}
        }
    }
    Ok(sleep)
}

/// A run on a thread of its own, unless the repository is busy: its end rings.
fn begin(
    schedules: &Arc<Schedules>,
    name: &str,
    repository: &str,
    due: Timestamp,
) -> Result<(), ScheduleError> {
    let cancel = Arc::new(Cancel::default());
    let slot = match schedules.take(repository, name, &cancel) {
        Ok(slot) => slot,
        Err(ScheduleError::Busy { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Before the thread: the next look shall not begin it again.
    slot.begin(Some(due))?;
    thread::Builder::new()
        .name("backup".to_owned())
        .spawn(move || match slot.run(&Silent) {
            Ok(_) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a scheduled backup failed");
            }
        })
        .map(drop)
        .map_err(ScheduleError::Thread)
}

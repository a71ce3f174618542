//! The thread that looks which schedules are due, and gives each run a thread of its own: a repository that hangs holds up
//! nobody else's.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::state::Decision;
use super::when::When;
use super::{Schedule, ScheduleError, Schedules};
use crate::cancel::Cancel;
use crate::clock::{IDLE, LOOK};
use crate::progress::Silent;

/// Starts the thread, which ends with the value.
pub(super) fn start(schedules: &Arc<Schedules>) -> Result<(), ScheduleError> {
    schedules
        .clock
        .start("schedules", schedules, |schedules| {
            look(schedules, Timestamp::now())
        })
        .map_err(ScheduleError::Thread)
}

/// Begins what is due; how long nothing will be.
fn look(schedules: &Arc<Schedules>, now: Timestamp) -> Result<Duration, ScheduleError> {
    let all = schedules.list()?;
    let mut sleep = if all.is_empty() { IDLE } else { LOOK };
    for schedule in all {
        match look_at(schedules, schedule, now) {
            Ok(next) => sleep = next.map_or(sleep, |next| sleep.min(next)),
            // Removed since it was listed.
            Err(ScheduleError::NoSuch(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sleep)
}

/// Begins one that is due; else how long it will not be.
fn look_at(
    schedules: &Arc<Schedules>,
    mut schedule: Schedule,
    now: Timestamp,
) -> Result<Option<Duration>, ScheduleError> {
    if schedule.state.running_since.is_some()
        && let Some(ended) = schedules.ended_unrecorded(&schedule.name)?
    {
        schedule.state = ended;
    }
    let when = When::of(&schedule.plan)?;
    match schedule.state.decide(&schedule.name, &when, now) {
        Decision::Run { due } => {
            begin(schedules, &schedule.name, &schedule.plan.to, due).map(|()| None)
        }
        Decision::Wait(next) => {
            Ok(next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default()))
        }
    }
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

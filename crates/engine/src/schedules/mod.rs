//! Backups that are made by themselves: when, of what, where to, what is kept, and what proves them.
//!
//! * [`when`] - the times at which a plan is due; [`state`] - what became of it, and what is to be done now;
//! * [`clock`] - the thread that looks; [`run`] - one run.
//!
//! Guarantees: a time that is due is dealt with once, also after days without an engine; to one repository goes one backup
//! at a time; every run is recorded before it begins, so that one that was cut off is known, counted as failed and made up
//! for; a failure is told by an event and tried again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::names::is_name;
use store::{BackupScheduleRow, Store, StoreError, WriteTx};
use volumes::Volumes;

use crate::backups::{Backups, Keep};
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::drill::{Drills, Exercise};
use crate::events::Events;
use crate::snapshot::Around;

mod clock;
mod error;
mod run;
mod state;
mod when;

pub use error::ScheduleError;
pub use state::{Outcome, State, VolumeOutcome};

use state::Decision;
use when::When;

/// Why a run was cut off.
const ENGINE_ENDED: &str = "the engine ended while the backup was made";
const UNRECORDED: &str = "how the backup ended could not be recorded";

/// What a schedule does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plan {
    /// A crontab expression of five fields, in the time zone.
    pub cron: String,
    /// Name in the time zone database; empty: UTC.
    pub zone: String,
    /// In place of a crontab expression: a period, counted from when the schedule was set.
    pub every_seconds: u64,
    /// A run begins up to so much later.
    pub jitter_seconds: u64,
    pub volumes: Vec<String>,
    /// `key` or `key=value`; a volume has all of them.
    pub labels: Vec<String>,
    pub all: bool,
    /// Name of a repository.
    pub to: String,
    pub consistency: String,
    pub hook: String,
    pub pre: String,
    pub post: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_timeout_seconds: Option<u64>,
    pub tags: Vec<String>,
    /// Of the backups that this schedule made; nothing: all are kept.
    pub keep: Keep,
    /// After each run so many percent of the repository are read; 0: nothing.
    pub verify_percent: f64,
    /// A drill of each volume whose last proof is older than so many seconds; `None`: no drills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill_seconds: Option<u64>,
    /// What such a drill does beside restoring.
    pub exercise: Exercise,
}

impl Plan {
    fn around(&self) -> Around {
        Around {
            consistency: self.consistency.clone(),
            hook: self.hook.clone(),
            before: self.pre.clone(),
            after: self.post.clone(),
            patience: self
                .hook_timeout_seconds
                .map(std::time::Duration::from_secs),
        }
    }

    fn check(&self) -> Result<(), ScheduleError> {
        When::of(self)?;
        if self.volumes.is_empty() && self.labels.is_empty() && !self.all {
            return Err(ScheduleError::NoVolumes);
        }
        if let Some(label) = self
            .labels
            .iter()
            .find(|label| label.split('=').next().is_none_or(str::is_empty))
        {
            return Err(ScheduleError::Label(label.clone()));
        }
        if !(0.0..=100.0).contains(&self.verify_percent) {
            return Err(ScheduleError::Sample);
        }
        Ok(())
    }
}

/// A schedule as callers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub name: String,
    pub plan: Plan,
    pub state: State,
    /// When the next run begins; `None`: it is paused, running, or never due again.
    pub next: Option<Timestamp>,
}

/// Schedules, and the thread that keeps them.
#[derive(Debug)]
pub struct Schedules {
    backups: Arc<Backups>,
    drills: Arc<Drills>,
    volumes: Arc<Volumes>,
    store: Arc<Store>,
    events: Events,
    clock: Clock,
    /// Repositories that a run is under way to, the schedule, and what ends it.
    busy: Mutex<BTreeMap<String, (String, Arc<Cancel>)>>,
}

impl Schedules {
    /// Records what an earlier engine's end has cut off, and starts to keep schedules; a sentence for each such run.
    ///
    /// # Errors
    /// When a record cannot be read, or there is no thread.
    pub(crate) fn open(
        backups: &Arc<Backups>,
        drills: &Arc<Drills>,
        volumes: &Arc<Volumes>,
        store: &Arc<Store>,
        events: Events,
    ) -> Result<(Arc<Self>, Vec<String>), ScheduleError> {
        let schedules = Arc::new(Self {
            backups: Arc::clone(backups),
            drills: Arc::clone(drills),
            volumes: Arc::clone(volumes),
            store: Arc::clone(store),
            events,
            clock: Clock::default(),
            busy: Mutex::default(),
        });
        let mut sentences = Vec::new();
        for schedule in schedules.list()? {
            let mut state = schedule.state;
            if state.cut_off(ENGINE_ENDED, Timestamp::now()) {
                schedules.record(&schedule.name, &state)?;
                sentences.push(format!(
                    "a run of backup schedule {} was cut off and is made up for",
                    schedule.name
                ));
            }
        }
        clock::start(&schedules)?;
        Ok((schedules, sentences))
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// [`ScheduleError::Store`], also for one that cannot be read.
    pub fn list(&self) -> Result<Vec<Schedule>, ScheduleError> {
        let rows = self.store.read(|tx| tx.backup_schedules())?;
        rows.into_iter().map(understood).collect()
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuch`], [`ScheduleError::Store`].
    pub fn get(&self, name: &str) -> Result<Schedule, ScheduleError> {
        let row = self.store.read(|tx| tx.backup_schedule(name))?;
        understood(row.ok_or_else(|| ScheduleError::NoSuch(name.to_owned()))?)
    }

    /// Makes a schedule, or gives the one of the name another plan; what became of its runs stays known.
    ///
    /// # Errors
    /// Those of the name, the plan and the repository.
    pub fn set(&self, name: &str, mut plan: Plan) -> Result<Schedule, ScheduleError> {
        if !is_name(name) {
            return Err(ScheduleError::Name(name.to_owned()));
        }
        plan.check()?;
        self.drills
            .check(&plan.exercise)
            .map_err(|source| ScheduleError::Drill { source })?;
        plan.to = self.repository(&plan.to)?;
        for volume in &plan.volumes {
            self.volumes.get(volume)?;
        }
        let now = Timestamp::now();
        let text = serde_json::to_string(&plan).expect("plain data serialises");
        self.store.write(|tx| {
            let known = tx
                .backup_schedule(name)?
                .and_then(|row| serde_json::from_str::<State>(&row.state).ok());
            // New times are counted from now: nothing is made up for that nobody had planned.
            let state = State {
                retry_at: None,
                since: now.to_string(),
                ..known.unwrap_or_default()
            };
            let state = serde_json::to_string(&state).expect("plain data serialises");
            tx.set_backup_schedule(&BackupScheduleRow {
                name: name.to_owned(),
                plan: text,
                state,
            })
        })?;
        self.clock.ring();
        self.get(name)
    }

    /// Removes a schedule; the backups that it made stay, and a run that is under way is ended.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuch`].
    pub fn remove(&self, name: &str) -> Result<(), ScheduleError> {
        self.get(name)?;
        self.store.write(|tx| tx.delete_backup_schedule(name))?;
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        for (schedule, cancel) in busy.values() {
            if schedule == name {
                cancel.cancel();
            }
        }
        Ok(())
    }

    /// Lets a schedule rest, or go on: what was missed meanwhile is not made up for.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuch`].
    pub fn pause(&self, name: &str, paused: bool) -> Result<(), ScheduleError> {
        let mut state = self.get(name)?.state;
        if state.paused && !paused {
            state.handled = Some(Timestamp::now().to_string());
        }
        state.paused = paused;
        self.record(name, &state)?;
        self.clock.ring();
        Ok(())
    }

    /// The schedules that back a volume up, by its name.
    ///
    /// # Errors
    /// [`ScheduleError::Store`].
    pub fn by_volume(&self) -> Result<BTreeMap<String, Vec<Schedule>>, ScheduleError> {
        let mut found: BTreeMap<String, Vec<Schedule>> = BTreeMap::new();
        let schedules = self.list()?;
        if schedules.is_empty() {
            return Ok(found);
        }
        let volumes = self.volumes.list()?;
        for schedule in schedules {
            for volume in self.chosen(&schedule.plan, &volumes) {
                found.entry(volume).or_default().push(schedule.clone());
            }
        }
        Ok(found)
    }

    /// Name of the repository that is meant: two schedules shall not call one by two names.
    fn repository(&self, text: &str) -> Result<String, ScheduleError> {
        Ok(self.backups.repository_named(text)?)
    }

    /// A run that is under way by its record, and that nobody is busy with: its end could not be recorded, as on a full
    /// disk. It counts as failed; what the schedule is now.
    fn ended_unrecorded(&self, name: &str) -> Result<Option<State>, ScheduleError> {
        // Held, so that a run neither begins nor ends: it is recorded while it is busy.
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.values().any(|(schedule, _)| schedule == name) {
            return Ok(None);
        }
        let mut state = self.get(name)?.state;
        if state.cut_off(UNRECORDED, Timestamp::now()) {
            self.record(name, &state)?;
        }
        Ok(Some(state))
    }

    fn record(&self, name: &str, state: &State) -> Result<(), ScheduleError> {
        let text = serde_json::to_string(state).expect("plain data serialises");
        Ok(self
            .store
            .write(|tx| tx.set_backup_schedule_state(name, &text))?)
    }
}

impl Drop for Schedules {
    fn drop(&mut self) {
        self.clock.stop();
    }
}

/// Plans that name a volume name it by its new name.
pub(crate) fn name_in_plans(tx: &WriteTx<'_>, from: &str, to: &str) -> Result<(), StoreError> {
    for mut row in tx.backup_schedules()? {
        let mut plan = planned(&row)?;
        if !plan.volumes.iter().any(|name| name == from) {
            continue;
        }
        plan.volumes.retain(|name| name != to);
        for name in &mut plan.volumes {
            if name == from {
                to.clone_into(name);
            }
        }
        row.plan = serde_json::to_string(&plan).expect("plain data serialises");
        tx.set_backup_schedule(&row)?;
    }
    Ok(())
}

fn planned(row: &BackupScheduleRow) -> Result<Plan, StoreError> {
    serde_json::from_str(&row.plan).map_err(|_| unreadable(row, "plan"))
}

fn unreadable(row: &BackupScheduleRow, column: &'static str) -> StoreError {
    StoreError::Unreadable {
        table: "backup_schedules",
        id: row.name.clone(),
        column,
    }
}

fn understood(row: BackupScheduleRow) -> Result<Schedule, ScheduleError> {
    let plan = planned(&row)?;
    let state: State = serde_json::from_str(&row.state).map_err(|_| unreadable(&row, "state"))?;
    let now = Timestamp::now();
    let next = match state.decide(&row.name, &When::of(&plan)?, now) {
        Decision::Run { .. } => Some(now),
        Decision::Wait(next) => next,
    };
    Ok(Schedule {
        name: row.name,
        plan,
        state,
        next,
    })
}

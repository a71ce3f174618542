//! One run of a schedule.
//!
//! Steps:
//! 1. the repository is taken: no other schedule's run goes there meanwhile
//! 2. that the run begins is recorded
//! 3. the volumes are backed up, all at one instant
//! 4. what the plan does not keep of the schedule's own backups is forgotten; once a day the room is given back
//! 5. a sample of the repository is read; drills of volumes whose last proof is too old
//! 6. how it ended is recorded, and told if it failed
//!
//! A volume that was not named and cannot be backed up makes the run fail at its end; the others are dealt with. A failure of
//! 4 or 5 is a failure of the run, whose backups stay; but that somebody else works with the repository is none of 4. A run that is cut off between 2 and 6 is found by the
//! next engine.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use volumes::Volume;

use super::state::parsed;
use super::{Outcome, Plan, ScheduleError, Schedules, VolumeOutcome};
use crate::backups::{BackupError, BackupRequest, ForgetRequest, How, SavedVolume, VerifyRequest};
use crate::cancel::Cancel;
use crate::drill::{self, DrillRequest};
use crate::error::chain;
use crate::progress::Progress;

/// How the tag of a schedule's backups begins.
const TAG: &str = "schedule=";
/// Between two times at which room is given back.
const PRUNE: SignedDuration = SignedDuration::from_hours(24);

/// A repository that is taken for a run; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    schedules: Arc<Schedules>,
    repository: String,
    name: String,
    cancel: Arc<Cancel>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut busy = self
            .schedules
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.repository);
        drop(busy);
        // Another schedule may wait for it.
        self.schedules.clock.ring();
    }
}

impl Schedules {
    /// Runs a schedule now, whatever the time is, and waits for its end.
    ///
    /// # Errors
    /// [`ScheduleError::NoSuch`], [`ScheduleError::Busy`], and why the run failed.
    pub fn run(
        self: &Arc<Self>,
        name: &str,
        progress: &dyn Progress,
        cancel: &Arc<Cancel>,
    ) -> Result<Outcome, ScheduleError> {
        let schedule = self.get(name)?;
        let slot = self.take(&schedule.plan.to, name, cancel)?;
        slot.begin(None)?;
        slot.run(progress)
    }

    /// Step 1.
    pub(super) fn take(
        self: &Arc<Self>,
        repository: &str,
        name: &str,
        cancel: &Arc<Cancel>,
    ) -> Result<Slot, ScheduleError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((schedule, _)) = busy.get(repository) {
            return Err(ScheduleError::Busy {
                repository: repository.to_owned(),
                schedule: schedule.clone(),
            });
        }
        busy.insert(repository.to_owned(), (name.to_owned(), Arc::clone(cancel)));
        Ok(Slot {
            schedules: Arc::clone(self),
            repository: repository.to_owned(),
            name: name.to_owned(),
            cancel: Arc::clone(cancel),
        })
    }

    /// The volumes that a plan means, of those that there are; volumes of drills are nobody's data.
    pub(super) fn chosen(&self, plan: &Plan, volumes: &[Volume]) -> Vec<String> {
        volumes
            .iter()
            .filter(|volume| self.fits(plan, volume))
            .map(|volume| volume.name.clone())
            .collect()
    }

    fn fits(&self, plan: &Plan, volume: &Volume) -> bool {
        if drill::is_thrown_away(volume) {
            return false;
        }
        let labelled =
            !plan.labels.is_empty() && plan.labels.iter().all(|label| volume.has_label(label));
        plan.volumes.contains(&volume.name)
            || labelled
            || (plan.all && !self.volumes.is_elsewhere(&volume.driver))
    }
}

impl Slot {
    /// Step 2.
    pub(super) fn begin(&self, due: Option<Timestamp>) -> Result<(), ScheduleError> {
        let mut state = self.schedules.get(&self.name)?.state;
        state.begin(due, Timestamp::now());
        self.schedules.record(&self.name, &state)?;
        sys::fault::step("backup-schedule:begun");
        Ok(())
    }

    /// The rest, after [`Slot::begin`].
    pub(super) fn run(self, progress: &dyn Progress) -> Result<Outcome, ScheduleError> {
        let schedule = self.schedules.get(&self.name)?;
        let began = schedule
            .state
            .running_since
            .clone()
            .unwrap_or_else(|| Timestamp::now().to_string());
        let mut state = schedule.state;
        let mut outcome = Outcome {
            began,
            ..Outcome::default()
        };
        let done = self.perform(
            &schedule.plan,
            &mut state.last_prune,
            &mut outcome,
            progress,
        );
        sys::fault::step("backup-schedule:done");
        outcome.ended = Timestamp::now().to_string();
        outcome.error = done.as_ref().err().map(|error| chain(error));
        // What was changed meanwhile stays as it is now.
        if let Ok(mut now) = self.schedules.get(&self.name).map(|known| known.state) {
            now.last_prune = state.last_prune;
            now.end(outcome.clone(), Timestamp::now());
            self.schedules.record(&self.name, &now)?;
        }
        if let Err(error) = done {
            self.tell(&schedule.plan, &error);
            return Err(error);
        }
        Ok(outcome)
    }

    /// Steps 3 to 5.
    fn perform(
        &self,
        plan: &Plan,
        last_prune: &mut Option<String>,
        outcome: &mut Outcome,
        progress: &dyn Progress,
    ) -> Result<(), ScheduleError> {
        let Schedules {
            backups, volumes, ..
        } = &*self.schedules;
        let mut found = volumes.list()?;
        found.retain(|volume| {
            self.schedules.fits(plan, volume) && !plan.volumes.contains(&volume.name)
        });
        if plan.all && plan.consistency != "none" {
            found.retain(|Volume { name, .. }| {
                // What is wrong with one is told in its turn.
                let is_kept = !matches!(volumes.sharing(name), Ok(None));
                if !is_kept {
                    outcome.warnings.push(format!(
                        "volume {name} can have no snapshot and was left out"
                    ));
                }
                is_kept
            });
        }
        let tag = format!("{TAG}{}", self.name);
        let mut tags = plan.tags.clone();
        tags.push(tag.clone());
        let request = BackupRequest {
            // One that was named and is not there is told by name.
            volumes: plan.volumes.clone(),
            found,
            to: Some(plan.to.clone()),
            around: plan.around(),
            tags,
            ..BackupRequest::default()
        };
        let made =
            backups
                .backup(&request, progress, &self.cancel)
                .map_err(|error| match error {
                    BackupError::Nothing => ScheduleError::Nothing(self.name.clone()),
                    error => error.into(),
                })?;
        outcome.warnings.extend(made.warnings);
        for saved in &made.backups {
            outcome.bytes += saved.bytes;
            outcome.stored_bytes += saved.stored_bytes;
            outcome.volumes.push(VolumeOutcome {
                volume: saved.volume.clone(),
                backup: saved.id.clone(),
                bytes: saved.bytes,
                stored_bytes: saved.stored_bytes,
                seconds: saved.took.as_secs_f64(),
            });
        }
        let afterwards = self.afterwards(plan, &tag, last_prune, &made.backups, outcome, progress);
        if made.failed.is_empty() {
            return afterwards;
        }
        if let Err(error) = afterwards {
            outcome.warnings.push(chain(&error));
        }
        Err(ScheduleError::Part(made.failed))
    }

    /// Steps 4 and 5, for the volumes of which backups were made.
    fn afterwards(
        &self,
        plan: &Plan,
        tag: &str,
        last_prune: &mut Option<String>,
        made: &[SavedVolume],
        outcome: &mut Outcome,
        progress: &dyn Progress,
    ) -> Result<(), ScheduleError> {
        let backups = &self.schedules.backups;
        if !plan.keep.is_empty() {
            match self.forget(
                plan,
                tag,
                last_prune,
                made,
                &mut outcome.forgotten,
                progress,
            ) {
                // The next run finds the same backups.
                Err(ScheduleError::Backup(error)) if error.is_repository_in_use() => {
                    outcome.warnings.push(format!(
                        "what is not kept goes with the next run: {}",
                        chain(&error)
                    ));
                }
                other => other?,
            }
        }
        if plan.verify_percent > 0.0 {
            let found = backups.verify(
                &VerifyRequest {
                    from: plan.to.clone(),
                    how: How::Sample(plan.verify_percent),
                },
                progress,
                &self.cancel,
            )?;
            if let Some(first) = found.problems.first() {
                return Err(ScheduleError::Problems {
                    count: found.problems.len(),
                    first: first.what.clone(),
                });
            }
        }
        self.prove(plan, made, progress)
    }

    /// Step 4; counts the backups that go.
    fn forget(
        &self,
        plan: &Plan,
        tag: &str,
        last_prune: &mut Option<String>,
        made: &[SavedVolume],
        gone: &mut u64,
        progress: &dyn Progress,
    ) -> Result<(), ScheduleError> {
        let backups = &self.schedules.backups;
        for saved in made {
            let forgotten = backups.forget(
                &ForgetRequest {
                    from: format!("{}:{}", plan.to, saved.volume),
                    keep: plan.keep.clone(),
                    tag: Some(tag.to_owned()),
                    ..ForgetRequest::default()
                },
                progress,
                &self.cancel,
            )?;
            *gone += forgotten.forgotten.len() as u64;
        }
        let now = Timestamp::now();
        let long_ago = last_prune
            .as_deref()
            .and_then(parsed)
            .is_none_or(|last| now.duration_since(last) >= PRUNE);
        if *gone > 0 && long_ago {
            backups.prune(Some(&plan.to), progress, &self.cancel)?;
            *last_prune = Some(now.to_string());
        }
        Ok(())
    }

    /// Step 5.
    fn prove(
        &self,
        plan: &Plan,
        made: &[SavedVolume],
        progress: &dyn Progress,
    ) -> Result<(), ScheduleError> {
        let Some(seconds) = plan.drill_seconds else {
            return Ok(());
        };
        let most = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let drills = &self.schedules.drills;
        let proofs = drills
            .proofs()
            .map_err(|source| ScheduleError::Drill { source })?;
        let now = Timestamp::now();
        let mut first = Ok(());
        for saved in made {
            let proven = proofs
                .get(&saved.volume)
                .and_then(|proof| parsed(proof.last_proven.as_deref()?));
            if proven.is_some_and(|proven| now.duration_since(proven) < most) {
                continue;
            }
            let request = DrillRequest {
                from: format!("{}:{}@{}", plan.to, saved.volume, saved.id),
                exercise: plan.exercise.clone(),
            };
            let done = drills.drill(&request, progress, &self.cancel);
            if first.is_ok() {
                first = done
                    .map(drop)
                    .map_err(|source| ScheduleError::Drill { source });
            }
        }
        first
    }

    /// An event for each of the schedule's volumes that it concerns, or for the schedule alone when there is none.
    fn tell(&self, plan: &Plan, error: &ScheduleError) {
        let attributes = |error: String| -> BTreeMap<String, String> {
            [
                ("schedule", self.name.clone()),
                ("repository", plan.to.clone()),
                ("error", error),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
        };
        let concerned = if let ScheduleError::Part(failed) = error {
            let each = failed.iter();
            each.map(|one| (one.volume.clone(), one.error.clone()))
                .collect()
        } else {
            let volumes = self.schedules.volumes.list().unwrap_or_default();
            let mut names = self.schedules.chosen(plan, &volumes);
            if names.is_empty() {
                names.push(self.name.clone());
            }
            let each = names.into_iter().map(|name| (name, chain(error)));
            each.collect::<Vec<_>>()
        };
        for (name, error) in concerned {
            let attributes = attributes(error);
            self.schedules
                .events
                .publish("volume", "backup_failed", name, attributes);
        }
    }
}

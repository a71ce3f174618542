//! The clock: makes the snapshots that schedules want, and removes those whose time is over.
//!
//! One thread, so never two at once. It sleeps until something is due, and is woken when that changes. A snapshot that
//! fails is told of, tried again some minutes later, and nothing of its volume is given up until then; one that is made although
//! something failed after it counts as made. One that somebody reads is removed when it is free.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use volumes::SnapshotError;
use volumes::snapshot::schedule::{CLASSES, Failure, REASON, is_expired};
use volumes::snapshot::{Policy, Schedule};

use super::{Around, SnapshotRequest, Snapshots, TurnBackError};
use crate::clock::{IDLE, LOOK};
use crate::error::chain;
use crate::progress::Silent;

/// Starts the thread, which ends with the value.
pub(super) fn start(snapshots: &Arc<Snapshots>) -> Result<(), TurnBackError> {
    snapshots
        .clock
        .start("snapshots", snapshots, |snapshots| snapshots.look())
        .map_err(TurnBackError::Thread)
}

/// A volume's schedule, as callers see it.
#[derive(Debug)]
pub struct KeptSchedule {
    pub kept: Schedule,
    /// When its next snapshot is made.
    pub next: Timestamp,
}

impl Snapshots {
    /// All schedules, by name of the volume.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn schedules(&self) -> Result<Vec<KeptSchedule>, SnapshotError> {
        let now = Timestamp::now();
        let schedules = self.volumes.schedules()?.into_iter();
        schedules
            .map(|kept| {
                let next = kept.next_run(now)?;
                Ok(KeptSchedule { kept, next })
            })
            .collect()
    }

    /// Gives a volume a schedule; its first snapshot is made at once.
    ///
    /// # Errors
    /// Those of the policy and of the volume.
    pub fn set_schedule(&self, volume: &str, policy: &Policy) -> Result<(), TurnBackError> {
        let around = around(policy);
        super::hooks::recipes(&around.hook)?;
        if !around.consistency.is_empty()
            && super::quiet::Rung::parse(&around.consistency).is_none()
        {
            return Err(TurnBackError::Consistency(around.consistency));
        }
        self.volumes.set_schedule(volume, policy)?;
        self.clock.ring();
        Ok(())
    }

    /// Does what is due; how long nothing will be.
    fn look(&self) -> Result<Duration, TurnBackError> {
        let schedules = self.volumes.schedules()?;
        for schedule in &schedules {
            let now = Timestamp::now();
            let due = schedule.due(now)?;
            let made = if due.is_empty() {
                // What was not made since counts for nothing: what is older stays.
                schedule
                    .failure
                    .as_ref()
                    .and_then(Failure::retry_at)
                    .is_none()
            } else {
                self.scheduled(schedule, &due, now)
            };
            if made {
                self.retain(schedule);
            }
        }
        let next = self.expire()?;
        let until = |next: Timestamp| {
            Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
        };
        let most = if schedules.is_empty() && next.is_none() {
            IDLE
        } else {
            LOOK
        };
        Ok(next.map_or(most, until).min(most))
    }

    /// Gives up what a policy keeps no longer.
    fn retain(&self, schedule: &Schedule) {
        match self.volumes.snapshots(Some(&schedule.volume)) {
            Ok(snapshots) => {
                for snapshot in schedule.policy.surplus(&snapshots) {
                    self.give_up(&snapshot.volume, &snapshot.name);
                }
            }
            Err(error) => {
                tracing::debug!(volume = schedule.volume, %error, "gone meanwhile");
            }
        }
    }

    /// Makes a snapshot and tells what went wrong; whether it is made.
    fn scheduled(&self, schedule: &Schedule, due: &[&str], now: Timestamp) -> bool {
        let volume = &schedule.volume;
        let (made, error) = match self.snapshot_of(volume, &schedule.policy, due, now) {
            Ok((_, None)) => return true,
            Ok((name, Some(error))) => (Some(name), error),
            Err(error) => (None, chain(&error)),
        };
        let snapshot = made.as_deref().unwrap_or_default();
        tracing::warn!(volume, snapshot, error, "a scheduled snapshot failed");
        let mut attributes = vec![("reason", REASON), ("error", &error)];
        if let Some(name) = &made {
            attributes.push(("snapshot", name));
        }
        self.tell("snapshot_failed", volume, &attributes);
        let is_made = made.is_some();
        let before = schedule.failure.as_ref().map_or(0, |failure| failure.times);
        let failure = Failure {
            at: Timestamp::now().to_string(),
            error,
            times: before.saturating_add(1),
            made,
        };
        if let Err(error) = self.volumes.schedule_failed(volume, &failure) {
            tracing::error!(volume, %error, "the failure of a scheduled snapshot could not be recorded");
        }
        is_made
    }

    /// Name of the snapshot, and what failed after it was made.
    fn snapshot_of(
        &self,
        volume: &str,
        policy: &Policy,
        due: &[&str],
        now: Timestamp,
    ) -> Result<(String, Option<String>), TurnBackError> {
        let request = |around: Around| SnapshotRequest {
            volumes: vec![volume.to_owned()],
            labels: [(CLASSES.to_owned(), due.join(","))].into(),
            reason: REASON.to_owned(),
            scheduled: Some(now),
            around,
            ..SnapshotRequest::default()
        };
        let create = |around| self.create(request(around), &Silent, &|| false);
        let made = match create(around(policy)) {
            // Who could be asked does not run, and writes nothing.
            Err(TurnBackError::NobodyToAsk(_) | TurnBackError::NotThere { .. }) => {
                create(Around::default())
            }
            other => other,
        }?;
        let name = made.snapshots.into_iter().next().map(|made| made.name);
        Ok((name.unwrap_or_default(), made.failed))
    }

    /// Removes what is past its time; when the next one will be.
    fn expire(&self) -> Result<Option<Timestamp>, TurnBackError> {
        let mut next: Option<Timestamp> = None;
        for snapshot in self.volumes.snapshots(None)? {
            let now = Timestamp::now();
            if is_expired(&snapshot, now) {
                if !self.give_up(&snapshot.volume, &snapshot.name) {
                    next = Some(next.map_or(now + LOOK, |next| next.min(now + LOOK)));
                }
            } else if let Some(time) = snapshot
                .expires_at
                .as_deref()
                .filter(|_| !snapshot.pinned)
                .and_then(|time| time.parse().ok())
            {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
        }
        Ok(next)
    }

    /// Whether it is gone.
    fn give_up(&self, volume: &str, name: &str) -> bool {
        match self.volumes.expire_snapshot(volume, name) {
            Ok(()) | Err(SnapshotError::NotFound { .. }) => true,
            Err(error) if error.kind() == store::ErrorKind::InUse => {
                tracing::debug!(volume, name, "still in use");
                false
            }
            Err(error) => {
                tracing::warn!(
                    volume,
                    name,
                    error = &error as &dyn std::error::Error,
                    "a snapshot whose time is over stays"
                );
                false
            }
        }
    }
}

fn around(policy: &Policy) -> Around {
    Around {
        consistency: policy.consistency.clone(),
        hook: policy.hook.clone(),
        before: policy.pre.clone(),
        after: policy.post.clone(),
        patience: policy.hook_timeout_seconds.map(Duration::from_secs),
    }
}

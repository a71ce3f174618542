//! The clock: makes the snapshots that schedules want, and removes those whose time is over.
//!
//! One thread, so never two at once. It sleeps until something is due, and is woken when that changes. A snapshot that
//! fails is tried again some minutes later; one that somebody reads is removed when it is free.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use volumes::SnapshotError;
use volumes::snapshot::Policy;
use volumes::snapshot::schedule::{CLASSES, REASON, is_expired};

use super::{Around, SnapshotRequest, Snapshots, TurnBackError};
use crate::clock::{IDLE, LOOK};
use crate::progress::Silent;

/// After a failure of one volume.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Starts the thread, which ends with the value.
pub(super) fn start(snapshots: &Arc<Snapshots>) -> Result<(), TurnBackError> {
    let mut failed = BTreeMap::new();
    snapshots
        .clock
        .start("snapshots", snapshots, move |snapshots| {
            snapshots.look(&mut failed)
        })
        .map_err(TurnBackError::Thread)
}

impl Snapshots {
    /// Gives a volume a schedule; its first snapshot is made at once.
    ///
    /// # Errors
    /// Those of the policy and of the volume.
    pub fn set_schedule(&self, volume: &str, policy: &Policy) -> Result<(), TurnBackError> {
        let around = around(policy);
        if !around.hook.is_empty() && super::hooks::recipe(&around.hook).is_none() {
            return Err(TurnBackError::Recipe(around.hook));
        }
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
    fn look(&self, failed: &mut BTreeMap<String, Timestamp>) -> Result<Duration, TurnBackError> {
        let schedules = self.volumes.schedules()?;
        for schedule in &schedules {
            let now = Timestamp::now();
            let last = schedule
                .last_run
                .as_deref()
                .and_then(|time| time.parse().ok());
            let due = schedule.policy.due(last, now)?;
            let waits = failed
                .get(&schedule.volume)
                .is_some_and(|since| now.duration_since(*since) < AGAIN);
            if !due.is_empty() && !waits {
                match self.scheduled(&schedule.volume, &schedule.policy, &due, now) {
                    Ok(()) => {
                        failed.remove(&schedule.volume);
                    }
                    Err(error) => {
                        tracing::warn!(volume = schedule.volume, %error, "a scheduled snapshot was not made");
                        failed.insert(schedule.volume.clone(), now);
                    }
                }
            }
            let snapshots = self.volumes.snapshots(Some(&schedule.volume));
            match snapshots {
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

    fn scheduled(
        &self,
        volume: &str,
        policy: &Policy,
        due: &[&str],
        now: Timestamp,
    ) -> Result<(), TurnBackError> {
        let request = |around: Around| SnapshotRequest {
            volumes: vec![volume.to_owned()],
            labels: [(CLASSES.to_owned(), due.join(","))].into(),
            reason: REASON.to_owned(),
            around,
            ..SnapshotRequest::default()
        };
        let create = |around| self.create(request(around), &Silent, &|| false);
        match create(around(policy)) {
            // Nobody runs who could be asked: nobody writes.
            Err(TurnBackError::NobodyToAsk(_)) => {
                create(Around::default())?;
            }
            other => {
                other?;
            }
        }
        Ok(self.volumes.schedule_ran(volume, now)?)
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
        match self.volumes.remove_snapshot(volume, name) {
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

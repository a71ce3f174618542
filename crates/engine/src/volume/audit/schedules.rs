//! Schedules whose snapshots fail.

use super::{Look, Weight};
use crate::containers::ContainerError;
use crate::error::chain;
use crate::snapshot::SnapshotError;

impl Look<'_> {
    pub(super) fn schedules(&mut self) -> Result<(), ContainerError> {
        let schedules = self
            .engine
            .volumes
            .schedules()
            .map_err(|error| match error {
                SnapshotError::Store(error) => ContainerError::Store(error),
                other => ContainerError::Conflict(chain(&other)),
            })?;
        for schedule in schedules {
            let Some(failure) = &schedule.failure else {
                continue;
            };
            let volume = &schedule.volume;
            let what = match &failure.made {
                Some(name) => format!("snapshot {name} was made, but then its schedule failed"),
                None => "its schedule makes no snapshot".to_owned(),
            };
            self.found(
                "snapshot-failed",
                Weight::Medium,
                volume,
                format!("{what}: {} (failures in a row: {})", failure.error, failure.times),
                format!(
                    "remove what it complains of, or give it another schedule: orlop volume schedule set {volume} …"
                ),
            );
        }
        Ok(())
    }
}

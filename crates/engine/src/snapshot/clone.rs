//! `clone`: a volume out of a snapshot, or out of the present of another one.

use std::time::Duration;

use volumes::{CloneVolume, Volume};

use super::course::{Course, Stopped, warn};
use super::create::{Around, Plan};
use super::hooks::Hook;
use super::quiet::Rung;
use super::{Snapshots, TurnBackError};
use crate::containers::create::to_json;
use crate::progress::Progress;
use crate::volume::Creator;

/// A volume that was made.
#[derive(Debug, Clone)]
pub struct Cloned {
    pub volume: Volume,
    /// For how long containers were frozen.
    pub frozen: Duration,
    pub warnings: Vec<String>,
    /// What failed after it was made.
    pub failed: Option<String>,
}

impl Snapshots {
    /// Makes the volume, unless it is `stopped`. `around` matters for the present only: a snapshot does not move.
    ///
    /// # Errors
    /// [`TurnBackError`].
    pub fn clone_volume(
        &self,
        request: &CloneVolume,
        around: &Around,
        progress: &dyn Progress,
        stopped: &Stopped<'_>,
    ) -> Result<Cloned, TurnBackError> {
        let sources = [request.source.clone()];
        let plan = if request.snapshot.is_some() {
            Plan {
                rung: Rung::None,
                hook: Hook::default(),
                writers: Vec::new(),
                freezes: false,
            }
        } else {
            self.plan(&sources, around)?
        };
        let costs = self.cost_of_clone(request)?;
        let warnings = plan.told(&costs);
        warn(&warnings, progress);
        let course = Course {
            action: "Cloning",
            costs: &costs.named(&request.name),
            progress,
            stopped,
        };
        let creator = Creator {
            clone_of: request.of(),
            ..Creator::default()
        };
        let wanted = CloneVolume {
            creator: Some(to_json(&creator)),
            ..request.clone()
        };
        let done = self.on_rung(&sources, &plan, |quiet| {
            self.volumes.clone_volume(&wanted, quiet, &course)
        })?;
        let snapshot = request.snapshot.as_deref().unwrap_or_default();
        self.tell(
            "clone",
            &done.made.name,
            &[("source", &request.source), ("snapshot", snapshot)],
        );
        Ok(Cloned {
            failed: done.failed(),
            volume: done.made,
            frozen: done.frozen,
            warnings,
        })
    }
}

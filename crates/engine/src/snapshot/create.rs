//! `create`: snapshots of one or several volumes at one instant.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use volumes::{CreateSnapshots, Snapshot};

use super::course::{Costs, Course, Stopped, warn};
use super::hooks::{Hook, recipes};
use super::quiet::Rung;
use super::{Snapshots, TurnBackError};
use crate::containers::Status;
use crate::containers::hold::User;
use crate::progress::Progress;

/// What is done before and after the content is copied, as users say it; empty fields were not said.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// `none`, `sync`, `freeze`, `hook`, `stop`; by default `hook` when there is one, else `freeze` when a running
    /// container may write, else `sync`.
    pub consistency: String,
    /// Ready-made hooks: `RECIPE` and `CONTAINER=RECIPE`, separated by commas.
    pub hook: String,
    /// Shell commands in the containers.
    pub before: String,
    pub after: String,
    /// How long each command may take before it is killed; `None`: two minutes.
    pub patience: Option<Duration>,
}

/// Which snapshots shall be.
#[derive(Debug, Clone, Default)]
pub struct SnapshotRequest {
    pub volumes: Vec<String>,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub reason: String,
    pub expires_at: Option<Timestamp>,
    pub pinned: bool,
    /// As for [`CreateSnapshots::scheduled`].
    pub scheduled: Option<Timestamp>,
    pub around: Around,
}

/// Snapshots that were made.
#[derive(Debug, Clone)]
pub struct Made {
    pub snapshots: Vec<Snapshot>,
    /// For how long containers were frozen.
    pub frozen: Duration,
    /// What users should know of its cost.
    pub warnings: Vec<String>,
    /// What failed after they were made.
    pub failed: Option<String>,
}

/// A rung with everything it needs.
pub(crate) struct Plan {
    pub(crate) rung: Rung,
    pub(crate) hook: Hook,
    /// Running containers that may write, and such as are going to be started again.
    pub(crate) writers: Vec<User>,
    /// Whoever has begun to write until the copy begins is frozen, too.
    pub(crate) freezes: bool,
}

impl Plan {
    /// What users should know of these costs before: bytes, and whom they hold up.
    pub(super) fn told(&self, costs: &Costs) -> Vec<String> {
        let mut told = costs.warnings();
        let what = match self.rung {
            Rung::None | Rung::Sync => return told,
            Rung::Freeze | Rung::Hook => "frozen",
            Rung::Stop => "stopped",
        };
        if !told.is_empty() && !self.writers.is_empty() {
            let names: Vec<&str> = self.writers.iter().map(|user| user.name.as_str()).collect();
            told.push(format!(
                "containers are {what} while they are copied: {}",
                names.join(", ")
            ));
        }
        told
    }
}

impl Snapshots {
    /// Makes the snapshots, all or none; none when it is `stopped`.
    ///
    /// # Errors
    /// [`TurnBackError`].
    pub fn create(
        &self,
        request: SnapshotRequest,
        progress: &dyn Progress,
        stopped: &Stopped<'_>,
    ) -> Result<Made, TurnBackError> {
        let plan = self.plan(&request.volumes, &request.around)?;
        let costs = self.costs(&request.volumes, None)?;
        let warnings = plan.told(&costs);
        warn(&warnings, progress);
        let course = Course {
            action: "Copying",
            costs: &costs,
            progress,
            stopped,
        };
        let wanted = CreateSnapshots {
            volumes: request.volumes,
            name: request.name,
            labels: request.labels,
            reason: request.reason,
            consistency: plan.rung.as_str().to_owned(),
            expires_at: request.expires_at,
            pinned: request.pinned,
            scheduled: request.scheduled,
        };
        let done = self.on_rung(&wanted.volumes, &plan, |quiet| {
            self.volumes.create_snapshots(&wanted, quiet, &course)
        })?;
        for snapshot in &done.made {
            self.tell(
                "snapshot",
                &snapshot.volume,
                &[("snapshot", &snapshot.name)],
            );
        }
        if wanted.expires_at.is_some() {
            self.clock.ring();
        }
        Ok(Made {
            failed: done.failed(),
            snapshots: done.made,
            frozen: done.frozen,
            warnings,
        })
    }

    /// What users should know before snapshots of these volumes are made; makes nothing.
    ///
    /// # Errors
    /// What would keep them from being made, as far as it can be seen now.
    pub fn foresee(
        &self,
        volumes: &[String],
        around: &Around,
    ) -> Result<Vec<String>, TurnBackError> {
        let plan = self.plan(volumes, around)?;
        Ok(plan.told(&self.costs(volumes, None)?))
    }

    /// Chooses the rung, and whom it concerns.
    pub(crate) fn plan(&self, volumes: &[String], around: &Around) -> Result<Plan, TurnBackError> {
        let mut hook = Hook {
            recipes: recipes(&around.hook)?,
            ..Hook::default()
        };
        if !around.before.is_empty() {
            hook.before.clone_from(&around.before);
        }
        if !around.after.is_empty() {
            hook.after.clone_from(&around.after);
        }
        if let Some(patience) = around.patience {
            hook.limit = patience;
        }
        let writers = self.writers(volumes)?;
        let rung = match around.consistency.as_str() {
            "" if !hook.is_empty() => Rung::Hook,
            "" if writers.is_empty() => Rung::Sync,
            "" => Rung::Freeze,
            text => Rung::parse(text).ok_or_else(|| TurnBackError::Consistency(text.to_owned()))?,
        };
        if rung == Rung::Hook {
            if hook.is_empty() {
                return Err(TurnBackError::NoHook);
            }
            if !writers.iter().any(User::runs) {
                return Err(TurnBackError::NobodyToAsk(volumes.join(", ")));
            }
            for recipe in &mut hook.recipes {
                let Some(container) = &mut recipe.container else {
                    continue;
                };
                let id = self.containers.find(container)?.id;
                if !writers.iter().any(|user| user.runs() && user.id == id) {
                    return Err(TurnBackError::NotThere {
                        container: container.clone(),
                        recipe: recipe.name,
                        volume: volumes.join(", "),
                    });
                }
                *container = id;
            }
        }
        let freezes = match rung {
            Rung::Freeze | Rung::Hook => true,
            Rung::Sync => around.consistency.is_empty(),
            Rung::None | Rung::Stop => false,
        };
        Ok(Plan {
            rung,
            hook,
            writers,
            freezes,
        })
    }

    /// Containers that run, or are going to be started again, and may write to these volumes.
    pub(super) fn writers(&self, volumes: &[String]) -> Result<Vec<User>, TurnBackError> {
        let mut writers: BTreeMap<String, User> = BTreeMap::new();
        for volume in volumes {
            for user in self.containers.users_of(volume)? {
                if user.writes && matches!(user.status, Status::Running | Status::Restarting) {
                    writers.insert(user.id.clone(), user);
                }
            }
        }
        Ok(writers.into_values().collect())
    }

    pub(super) fn tell(&self, action: &str, volume: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.events
            .publish("volume", action, volume.to_owned(), attributes);
    }
}

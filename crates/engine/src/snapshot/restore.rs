//! `restore`: a snapshot becomes the present of its volume, unless somebody is using that.

use volumes::RestoreFrom;

use super::course::{Costs, Course, Stopped, warn};
use super::{Snapshots, TurnBackError};
use crate::progress::Progress;

/// What a restore did.
#[derive(Debug, Clone)]
pub struct TurnedBack {
    pub from: String,
    /// Name of the snapshot that holds what was there before.
    pub kept: Option<String>,
    pub warnings: Vec<String>,
}

impl Snapshots {
    /// Whether a restore of the volume would be refused now because of those who use it.
    ///
    /// # Errors
    /// [`TurnBackError::Mounted`], [`VolumeError::NotFound`](volumes::VolumeError::NotFound).
    pub fn may_restore(&self, volume: &str, force: bool) -> Result<(), TurnBackError> {
        let running = self.running_users(volume)?;
        if running.is_empty() || force {
            return Ok(());
        }
        Err(TurnBackError::Mounted {
            volume: volume.to_owned(),
            containers: running,
        })
    }

    /// Names of containers that run with the volume.
    fn running_users(&self, volume: &str) -> Result<Vec<String>, TurnBackError> {
        Ok(self
            .containers
            .users_of(volume)?
            .into_iter()
            .filter(|user| user.status.is_active())
            .map(|user| user.name)
            .collect())
    }

    /// Makes a snapshot the present, unless it is `stopped` before that is complete. With `force` containers that run on the volume keep the old tree until they start
    /// again.
    ///
    /// # Errors
    /// [`TurnBackError::Mounted`], and those of the volume.
    pub fn restore(
        &self,
        volume: &str,
        from: &RestoreFrom,
        force: bool,
        progress: &dyn Progress,
        stopped: &Stopped<'_>,
    ) -> Result<TurnedBack, TurnBackError> {
        let users = self.containers.users_of(volume)?;
        let lives = self.containers.lives(users.iter().map(|user| &*user.id));
        let _verbs = lives.hold();
        self.may_restore(volume, force)?;
        let running = self.running_users(volume)?;
        let mut costs = Costs::default();
        if let RestoreFrom::Snapshot(name) = from {
            // A volume whose content has vanished cannot be asked.
            costs = self
                .costs(&[volume.to_owned()], Some(name))
                .unwrap_or_default();
        }
        let mut warnings = costs.warnings();
        if !running.is_empty() {
            warnings.push(format!(
                "running containers keep what volume {volume} held before until they are restarted: {}",
                running.join(", ")
            ));
        }
        warn(&warnings, progress);
        let course = Course {
            action: "Restoring",
            costs: &costs,
            progress,
            stopped,
        };
        let restored = self
            .volumes
            .restore(volume, from, !running.is_empty(), &course)?;
        // Of what was received somebody else tells.
        if !matches!(from, RestoreFrom::Received(_)) {
            self.tell("restore", volume, &[("snapshot", &restored.from)]);
        }
        Ok(TurnedBack {
            from: restored.from,
            kept: restored.kept,
            warnings,
        })
    }
}

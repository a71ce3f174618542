//! How far the copies of a call are, told to whoever asked for them; and the other way, that nobody waits any more.

use volumes::driver::Sharing;
use volumes::snapshot::Cost;
use volumes::{CloneVolume, Observer};

use super::{SnapshotError, Snapshots};
use crate::progress::Progress;

/// Says whether nobody waits for a call any more.
pub type Stopped<'a> = dyn Fn() -> bool + Sync + 'a;

/// What is going to be written: bytes for each volume of which every byte is copied.
#[derive(Debug, Default)]
pub(super) struct Costs {
    bytes: Vec<(String, u64)>,
    /// The pool that it goes to, if that is another one than where it is.
    pool: Option<String>,
}

impl Costs {
    /// What users should know before.
    pub(super) fn warnings(&self) -> Vec<String> {
        let sentence = |(volume, bytes): &(String, u64)| {
            let why = match &self.pool {
                Some(pool) => format!("pool {pool} cannot share its data"),
                None => "this filesystem cannot share data".to_owned(),
            };
            format!("volume {volume}: {why}: {bytes} bytes will be copied")
        };
        self.bytes.iter().map(sentence).collect()
    }

    fn add(&mut self, volume: &str, cost: Cost) {
        if let (Sharing::Copy, Some(bytes @ 1..)) = (cost.sharing, cost.bytes) {
            self.bytes.push((volume.to_owned(), bytes));
        }
    }

    /// The same, for a copy of another name.
    pub(super) fn named(mut self, name: &str) -> Self {
        for (volume, _) in &mut self.bytes {
            name.clone_into(volume);
        }
        self
    }

    fn of(&self, volume: &str) -> Option<u64> {
        let mut known = self.bytes.iter();
        known
            .find(|(name, _)| name == volume)
            .map(|(_, bytes)| *bytes)
    }
}

impl Snapshots {
    /// What copies of these volumes, or of one's snapshot, cost.
    pub(super) fn costs(
        &self,
        volumes: &[String],
        snapshot: Option<&str>,
    ) -> Result<Costs, SnapshotError> {
        let mut costs = Costs::default();
        for volume in volumes {
            costs.add(volume, self.volumes.copy_cost(volume, snapshot)?);
        }
        Ok(costs)
    }

    /// What a clone costs.
    pub(super) fn cost_of_clone(&self, request: &CloneVolume) -> Result<Costs, SnapshotError> {
        let mut costs = Costs {
            pool: request.pool.clone(),
            ..Costs::default()
        };
        costs.add(&request.source, self.volumes.clone_cost(request)?);
        Ok(costs)
    }
}

/// Before anything is copied: it may take long.
pub(super) fn warn(warnings: &[String], progress: &dyn Progress) {
    for warning in warnings {
        progress.warning(warning);
    }
}

/// The copies of one call.
pub(super) struct Course<'a> {
    /// "Copying".
    pub(super) action: &'a str,
    pub(super) costs: &'a Costs,
    pub(super) progress: &'a dyn Progress,
    pub(super) stopped: &'a Stopped<'a>,
}

impl Observer for Course<'_> {
    fn copied(&self, volume: &str, bytes: u64) {
        // More may be there than when it was measured.
        let total = self
            .costs
            .of(volume)
            .map_or(0, |measured| measured.max(bytes));
        self.progress.step(volume, self.action, bytes, total);
    }

    fn settles(&self, volume: &str, bytes: u64) {
        self.progress.step(volume, self.action, bytes, bytes);
        self.progress.status(volume, "Syncing");
    }

    fn is_stopped(&self) -> bool {
        (self.stopped)()
    }
}

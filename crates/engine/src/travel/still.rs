//! Snapshots that are read once by what travels.
//!
//! One that was made for that goes with the value that stands for it. An engine that dies leaves it: the next one removes it
//! before it serves anybody, told by what it was made for, and failing that its time is over after a day.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use transfer::Still;
use volumes::{SnapshotError, Volumes};

use super::TravelError;
use crate::engine::Engine;
use crate::progress::Progress;
use crate::snapshot::{Around, SnapshotRequest, Stopped, after};

/// What such snapshots are made for, as `volume snapshot inspect` shows it.
const REASONS: [&str; 3] = ["copy", "move", "push"];

/// A snapshot, open for reading.
pub(super) struct Snapshotted<'v> {
    volumes: &'v Volumes,
    volume: String,
    name: String,
    root: OwnedFd,
    taken: SystemTime,
    /// It was made for one journey, and goes after it.
    passing: bool,
}

impl<'v> Snapshotted<'v> {
    /// One that somebody has made, and that stays.
    pub(super) fn kept(
        volumes: &'v Volumes,
        volume: &str,
        name: &str,
    ) -> Result<Self, TravelError> {
        let tree = volumes.readable_snapshot(volume, name)?;
        let root = sys::dir::open(&tree).map_err(|source| TravelError::Io {
            action: "open the snapshot",
            source,
        })?;
        Ok(Self {
            volumes,
            volume: volume.to_owned(),
            name: name.to_owned(),
            root,
            // Nothing that is compared with it later has such times.
            taken: SystemTime::UNIX_EPOCH,
            passing: false,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn still(&self) -> Still<'_> {
        Still {
            snapshot: self.root(),
            taken: self.taken,
            read: self.root(),
        }
    }
}

impl Drop for Snapshotted<'_> {
    fn drop(&mut self) {
        if self.passing
            && let Err(error) = self.volumes.remove_snapshot(&self.volume, &self.name)
        {
            tracing::warn!(volume = self.volume, snapshot = self.name, %error, "a snapshot that was read once stays for a day");
        }
    }
}

impl Engine {
    /// Makes a snapshot of the volume for `reason`, and for as long as the value lives. For how long containers were frozen
    /// comes along.
    pub(super) fn snapshotted(
        &self,
        volume: &str,
        reason: &str,
        around: Around,
        progress: &dyn Progress,
        stopped: &Stopped<'_>,
    ) -> Result<(Snapshotted<'_>, Duration), TravelError> {
        let taken = SystemTime::now();
        let wanted = SnapshotRequest {
            volumes: vec![volume.to_owned()],
            reason: reason.to_owned(),
            expires_at: Timestamp::now()
                .checked_add(SignedDuration::from_hours(24))
                .ok(),
            around,
            ..SnapshotRequest::default()
        };
        let made = self.snapshots.create(wanted, progress, stopped)?;
        if let Some(failed) = &made.failed {
            progress.warning(&after(failed));
        }
        let Some(snapshot) = made.snapshots.first() else {
            return Err(SnapshotError::Nothing.into());
        };
        let opened = Snapshotted::kept(&self.volumes, volume, &snapshot.name);
        if opened.is_err()
            && let Err(error) = self.volumes.remove_snapshot(volume, &snapshot.name)
        {
            tracing::warn!(volume, snapshot = snapshot.name, %error, "a snapshot that cannot be read stays for a day");
        }
        let mut snapshotted = opened?;
        snapshotted.taken = taken;
        snapshotted.passing = true;
        Ok((snapshotted, made.frozen))
    }
}

/// Removes what an engine that is gone has left; a sentence for each. Nobody else makes snapshots for these reasons that have
/// an end, and nobody reads one before anybody is served.
pub(crate) fn sweep(volumes: &Volumes) -> Result<Vec<String>, SnapshotError> {
    let mut sentences = Vec::new();
    for snapshot in volumes.snapshots(None)? {
        let passing = REASONS.contains(&snapshot.reason.as_str())
            && snapshot.expires_at.is_some()
            && !snapshot.pinned;
        if !passing {
            continue;
        }
        match volumes.remove_snapshot(&snapshot.volume, &snapshot.name) {
            Ok(()) => sentences.push(format!(
                "volume {}: removed snapshot {}, which an interrupted {} had left",
                snapshot.volume, snapshot.name, snapshot.reason
            )),
            Err(error) => {
                tracing::warn!(volume = snapshot.volume, snapshot = snapshot.name, %error, "a snapshot that was read once stays for a day");
            }
        }
    }
    Ok(sentences)
}

//! Volumes that come from another engine: a place for their bytes, which nobody sees until they are complete.
//!
//! * [`begin`] makes the place, or finds the one of an earlier attempt, and takes the name;
//! * somebody fills it: this crate neither knows nor trusts how;
//! * [`publish`] makes it a volume, with everything that came with it.
//!
//! A place outlives crashes and restarts, so that an attempt that was cut off can be gone on with. It goes when somebody gives
//! it up, never by itself. What it holds was never a volume's here.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::journal;
use store::{ArrivalRow, VolumeId, VolumeRow, VolumeState};

use crate::passport::Passport;
use crate::remove::Remove;
use crate::{VolumeAction, VolumeError, Volumes, held};

pub(crate) mod begin;
pub(crate) mod publish;

/// What travels with the bytes of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luggage {
    /// What it is a copy of: the id of the volume, and of the snapshot.
    pub origin: String,
    pub passport: Passport,
    pub protected: bool,
    pub history: Vec<Happened>,
    /// It goes from where it was once it is here.
    pub moving: bool,
}

/// An event of its past.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Happened {
    /// RFC 3339.
    pub at: String,
    pub action: String,
    pub detail: String,
}

/// How a volume shall come.
#[derive(Debug, Clone)]
pub struct ArriveVolume {
    pub luggage: Luggage,
    /// `None`: as it was called where it comes from.
    pub name: Option<String>,
    /// `None`: the default one.
    pub pool: Option<String>,
    /// Limits stay behind.
    pub without_limits: bool,
}

/// A place for a volume's bytes. While there is one nobody else gets it.
pub struct Arrival<'v> {
    volumes: &'v Volumes,
    pub(crate) id: VolumeId,
    name: String,
    content: PathBuf,
    resumed: bool,
    settled: bool,
    /// What could not be taken over.
    notes: Vec<String>,
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Arrival<'_> {
    /// The name that the volume has here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory for its bytes.
    pub fn content(&self) -> &Path {
        &self.content
    }

    /// An earlier attempt has left something in it.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// It arrived before, and is a volume that must not be changed: only where it comes from does not know yet.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        held(&self.volumes.arriving).remove(&self.id);
    }
}

/// A volume that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arriving {
    pub name: String,
    pub origin: String,
    /// RFC 3339.
    pub began_at: String,
    /// What has come so far.
    pub bytes: Option<u64>,
    /// Somebody is sending it now.
    pub active: bool,
}

impl Volumes {
    /// Volumes that are not complete, the first one first.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn arrivals(&self) -> Result<Vec<Arriving>, VolumeError> {
        let open = self.store.read(|tx| {
            let mut open = Vec::new();
            for arrival in tx.arrivals()? {
                if let Some(row) = tx.volume(&arrival.volume)?
                    && is_open(&row, &arrival)
                {
                    open.push((row, arrival));
                }
            }
            Ok::<_, VolumeError>(open)
        })?;
        Ok(open
            .into_iter()
            .map(|(row, arrival)| {
                let content = self.paths.volume_content(&row.id);
                Arriving {
                    bytes: sys::dir::tree_size(&content).ok().map(|size| size.bytes),
                    active: held(&self.arriving).contains(&row.id),
                    name: row.name,
                    origin: arrival.origin,
                    began_at: arrival.began_at,
                }
            })
            .collect())
    }

    /// Deletes what has come of a volume that is not complete.
    ///
    /// # Errors
    /// [`VolumeError::NotArriving`]; [`VolumeError::Arriving`] while somebody sends it.
    pub fn give_up_arrival(&self, name: &str) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let found = self.store.read(|tx| {
            let Some(row) = tx.volume_by_name(name)? else {
                return Ok(None);
            };
            let arrival = tx.arrival(&row.id)?;
            Ok::<_, VolumeError>(
                arrival
                    .filter(|arrival| is_open(&row, arrival))
                    .map(|_| row),
            )
        })?;
        let row = found.ok_or_else(|| VolumeError::NotArriving(name.to_owned()))?;
        if held(&self.arriving).contains(&row.id) {
            return Err(VolumeError::Arriving(row.name));
        }
        let remove = Remove {
            id: row.id,
            name: row.name,
        };
        journal::execute(&self.store, &remove, &self.context())
    }

    /// Makes the volume visible: durable, complete, with what came with it. The caller has compared it with its source.
    ///
    /// # Errors
    /// [`VolumeError::Store`], and what the disk says; the place is then as it was.
    pub fn publish_arrival(&self, arrival: &Arrival<'_>) -> Result<(), VolumeError> {
        if arrival.settled {
            return Ok(());
        }
        let lock = self.name_lock(&arrival.name);
        let _held = held(&lock);
        let luggage = self
            .store
            .read(|tx| tx.arrival(&arrival.id))?
            .and_then(|row| serde_json::from_str::<Luggage>(&row.luggage).ok())
            .ok_or_else(|| VolumeError::NotArriving(arrival.name.clone()))?;
        let publish = publish::Publish::new(arrival.id.clone(), arrival.name.clone(), luggage);
        journal::execute(&self.store, &publish, &self.context())?;
        self.describe(&arrival.id);
        let row = self.row(&arrival.name)?;
        self.publish(&row.name, &row.driver, VolumeAction::Create);
        self.ring_limits();
        Ok(())
    }
}

fn is_open(row: &VolumeRow, arrival: &ArrivalRow) -> bool {
    row.state == VolumeState::Creating && arrival.arrived_at.is_none()
}

//! `data/<id>/volume.json`: what the database knows of a volume, beside its bytes.
//!
//! The database decides; this is a copy of it, written anew after each change, for the day on which the database is lost.
//! A crash can leave it behind by one change; the next start writes it again.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::names::check_volume_name;
use store::{Paths, VolumeId, VolumeRow, VolumeState};

use crate::create::Context;
use crate::{VolumeError, Volumes};

/// Raised when a reader of an older version would misunderstand.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) format: u32,
    pub(crate) id: VolumeId,
    pub(crate) name: String,
    pub(crate) driver: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) anonymous: bool,
    pub(crate) created_at: String,
    #[serde(default)]
    pub(crate) protected: bool,
    /// RFC 3339; it is in the trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trashed_until: Option<String>,
}

impl Description {
    pub(crate) fn new(row: VolumeRow, protected: bool) -> Self {
        Self {
            format: FORMAT,
            id: row.id,
            name: row.name,
            driver: row.driver,
            options: row.options,
            labels: row.labels,
            anonymous: row.anonymous,
            created_at: row.created_at,
            protected,
            trashed_until: None,
        }
    }

    /// The record that it describes.
    pub(crate) fn row(&self) -> VolumeRow {
        VolumeRow {
            id: self.id.clone(),
            name: self.name.clone(),
            driver: self.driver.clone(),
            options: self.options.clone(),
            labels: self.labels.clone(),
            anonymous: self.anonymous,
            state: VolumeState::Ready,
            created_at: self.created_at.clone(),
        }
    }
}

/// The description of a directory; `None` when it has none that this version understands, or that of another one.
pub(crate) fn read(paths: &Paths, id: &VolumeId) -> Option<Description> {
    let bytes = std::fs::read(paths.volume_metadata(id)).ok()?;
    let description: Description = serde_json::from_slice(&bytes).ok()?;
    let fits = description.format == FORMAT
        && description.id == *id
        && check_volume_name(&description.name).is_ok();
    fits.then_some(description)
}

/// The description of a new volume. A power cut may take it; then recovery writes it again.
pub(crate) fn begin(context: &Context<'_>, id: &VolumeId) -> Result<(), VolumeError> {
    put(context, id, |path, text| {
        match sys::durable::write_unsynced(path, text, 0o600) {
            // By the attempt that a crash cut short.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                sys::durable::write_atomic(path, text, 0o600)
            }
            other => other,
        }
    })
}

/// Removes what a write that was cut short left; whether the description beside the data is this one.
pub(crate) fn tidy(paths: &Paths, wanted: &Description) -> io::Result<bool> {
    let path = paths.volume_metadata(&wanted.id);
    let name = path.file_name().expect("it is the path of a file");
    let entries = match std::fs::read_dir(paths.volume(&wanted.id)) {
        // The data of a volume may have vanished; that is told elsewhere.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if sys::durable::is_leftover(&entry.file_name(), name) {
            sys::durable::remove_file(&entry.path())?;
        }
    }
    Ok(read(paths, &wanted.id).as_ref() == Some(wanted))
}

/// Writes what the database says now; nothing for a volume that has gone.
pub(crate) fn write(context: &Context<'_>, id: &VolumeId) -> Result<(), VolumeError> {
    // Options may hold passwords.
    put(context, id, |path, text| {
        sys::durable::write_atomic(path, text, 0o600)
    })
}

fn put(
    context: &Context<'_>,
    id: &VolumeId,
    write: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
) -> Result<(), VolumeError> {
    let (row, trashed, notes) = context
        .store
        .read(|tx| Ok::<_, VolumeError>((tx.volume(id)?, tx.trashed(id)?, tx.volume_notes(id)?)))?;
    let trashed_until = trashed.as_ref().map(|trashed| trashed.expires_at.clone());
    let Some(row) = row.or(trashed.map(|trashed| trashed.volume)) else {
        return Ok(());
    };
    let description = Description {
        trashed_until,
        ..Description::new(row, notes.protected)
    };
    let path = context.paths.volume_metadata(id);
    let text = serde_json::to_vec_pretty(&description).expect("maps have string keys");
    match write(&path, &text) {
        // A volume whose directory has gone can still be renamed and labelled.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(VolumeError::io("write", path)),
    }
}

/// Takes back the description of a volume that nobody has seen, and what a write that was cut short left of it.
pub(crate) fn remove(context: &Context<'_>, id: &VolumeId) -> Result<(), VolumeError> {
    let directory = context.paths.volume(id);
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(VolumeError::io("list", &directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(VolumeError::io("list", &directory))?;
        let kind = entry
            .file_type()
            .map_err(VolumeError::io("stat", entry.path()))?;
        if kind.is_file() {
            sys::durable::remove_file(&entry.path())
                .map_err(VolumeError::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

impl Volumes {
    /// After a change that is recorded already: what cannot be written is logged, for the change has happened.
    pub(crate) fn describe(&self, id: &VolumeId) {
        if let Err(error) = write(&self.context(), id) {
            tracing::warn!(volume = id.as_str(), %error, "the description beside the data is not up to date");
        }
    }
}

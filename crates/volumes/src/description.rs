//! `data/<id>/volume.json`: what the database knows of a volume, beside its bytes.
//!
//! The database decides; this is a copy of it, written anew after each change, for the day on which the database is lost.
//! A crash can leave it behind by what has changed in the last moments; the next start writes it again.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::names::check_volume_name;
use store::{
    Measured, Paths, PoolId, ScheduleRow, SnapshotId, SnapshotRow, SnapshotState, StorageRow,
    VolumeId, VolumeNotes, VolumeRow, VolumeState, WriteTx,
};
use volume_plugins::is_volume_name;

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
    /// Where it lies; the link in `data` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<PoolId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inodes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) soft_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) snapshots: Vec<Kept>,
    /// What filled it, as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seeded_by: Option<String>,
    /// The policy, as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<String>,
    /// Who made it, as it is stored. This and what follows is as it was when something else was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_by: Option<String>,
    /// Who used it last, and wrote to it last, as it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_by: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<Size>,
}

/// What it took when it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    bytes: u64,
    files: u64,
    at: String,
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: SnapshotId,
    pub(crate) name: String,
    pub(crate) created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) reason: String,
    pub(crate) consistency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    #[serde(default)]
    pub(crate) pinned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}

impl From<SnapshotRow> for Kept {
    fn from(row: SnapshotRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            created_at: row.created_at,
            labels: row.labels,
            reason: row.reason,
            consistency: row.consistency,
            group: row.group,
            expires_at: row.expires_at,
            pinned: row.pinned,
            size: row.size,
        }
    }
}

impl Kept {
    fn row(&self, volume: &VolumeId) -> SnapshotRow {
        SnapshotRow {
            id: self.id.clone(),
            volume: volume.clone(),
            name: self.name.clone(),
            created_at: self.created_at.clone(),
            state: SnapshotState::Ready,
            labels: self.labels.clone(),
            reason: self.reason.clone(),
            consistency: self.consistency.clone(),
            group: self.group.clone(),
            expires_at: self.expires_at.clone(),
            pinned: self.pinned,
            size: self.size,
        }
    }
}

impl Description {
    pub(crate) fn new(row: VolumeRow, notes: &VolumeNotes) -> Self {
        Self {
            format: FORMAT,
            id: row.id,
            name: row.name,
            driver: row.driver,
            options: row.options,
            labels: row.labels,
            anonymous: row.anonymous,
            created_at: row.created_at,
            protected: notes.protected,
            trashed_until: None,
            pool: None,
            bytes: None,
            inodes: None,
            soft_bytes: None,
            snapshots: Vec::new(),
            seeded_by: notes.seeded_by.clone(),
            schedule: None,
            created_by: notes.created_by.clone(),
            used_by: notes.used_by.clone(),
            used_at: notes.used_at.clone(),
            measured: notes.measured.clone().map(|measured| Size {
                bytes: measured.bytes,
                files: measured.files,
                at: measured.at,
            }),
        }
    }

    fn with(
        self,
        storage: StorageRow,
        snapshots: Vec<SnapshotRow>,
        schedule: Option<ScheduleRow>,
    ) -> Self {
        Self {
            pool: storage.pool,
            bytes: storage.bytes,
            inodes: storage.inodes,
            soft_bytes: storage.soft_bytes,
            snapshots: snapshots
                .into_iter()
                .filter(|row| row.state == SnapshotState::Ready)
                .map(Kept::from)
                .collect(),
            schedule: schedule.map(|row| row.policy),
            ..self
        }
    }

    /// Records all that is described beside the volume itself: protection, what filled it, its past, place, limits, schedule, and of the snapshots
    /// those whose bytes are there.
    pub(crate) fn record_rest(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if self.protected {
            tx.set_volume_protected(&self.id, true)?;
        }
        if let Some(seed) = &self.seeded_by {
            tx.set_volume_seeded(&self.id, seed)?;
        }
        self.record_past(tx)?;
        let storage = StorageRow {
            // One that is not recorded is not there either: adopted, the volume would never be.
            pool: match &self.pool {
                Some(pool) => tx.pool(pool)?.map(|row| row.id),
                None => None,
            },
            bytes: self.bytes,
            inodes: self.inodes,
            soft_bytes: self.soft_bytes,
            soft_crossed: false,
        };
        if storage != StorageRow::default() {
            tx.set_volume_storage(&self.id, &storage)?;
        }
        if let Some(policy) = &self.schedule {
            tx.set_schedule(&self.id, policy)?;
        }
        for snapshot in &self.snapshots {
            if tx.snapshot(&snapshot.id)?.is_none()
                && tx.snapshot_by_name(&self.id, &snapshot.name)?.is_none()
            {
                tx.insert_snapshot(&snapshot.row(&self.id))?;
            }
        }
        Ok(())
    }

    /// Who made and used it, and what it took then.
    fn record_past(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        if let Some(creator) = &self.created_by {
            tx.set_volume_creator(&self.id, creator)?;
        }
        if let (Some(by), Some(at)) = (&self.used_by, &self.used_at) {
            tx.set_volume_used(&self.id, by, at)?;
        }
        if let Some(size) = &self.measured {
            let measured = Measured {
                bytes: size.bytes,
                files: size.files,
                at: size.at.clone(),
            };
            tx.set_volume_measured(&self.id, &measured)?;
        }
        Ok(())
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
    read_in(paths, id, &paths.volume(id))
}

/// The same, when it is known where that is: `directory`.
fn read_in(paths: &Paths, id: &VolumeId, directory: &Path) -> Option<Description> {
    let bytes = std::fs::read(paths.metadata_in(directory)).ok()?;
    let mut description: Description = serde_json::from_slice(&bytes).ok()?;
    let entry = paths.volume_entry(id);
    // A directory of its own leads nowhere.
    let link = (entry != directory).then(|| std::fs::read_link(entry).ok());
    description.pool = link
        .flatten()
        .and_then(|target| paths.home_of_target(&target))
        .map(|(pool, _)| pool);
    description
        .snapshots
        .retain(|snapshot| paths.snapshot(id, &snapshot.id).is_dir());
    let fits = description.format == FORMAT
        && description.id == *id
        && (check_volume_name(&description.name).is_ok()
            || (description.driver != crate::driver::DEFAULT && is_volume_name(&description.name)));
    fits.then_some(description)
}

/// What is described in a directory that may lie anywhere; `None` if that cannot be understood.
pub(crate) fn anyones(paths: &Paths, directory: &Path) -> Option<Description> {
    let bytes = std::fs::read(paths.metadata_in(directory)).ok()?;
    let description: Description = serde_json::from_slice(&bytes).ok()?;
    (description.format == FORMAT).then_some(description)
}

/// Whose directory it was that lies somewhere else now.
pub(crate) fn owner(paths: &Paths, directory: &Path) -> Option<VolumeId> {
    let bytes = std::fs::read(paths.metadata_in(directory)).ok()?;
    let description: Description = serde_json::from_slice(&bytes).ok()?;
    Some(description.id)
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
    let directory = paths.volume(&wanted.id);
    let path = paths.metadata_in(&directory);
    let name = path.file_name().expect("it is the path of a file");
    let entries = match std::fs::read_dir(&directory) {
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
    // Of thousands nearly all are as they were written.
    Ok(holds(&path, &text(wanted))
        || read_in(paths, &wanted.id, &directory).as_ref() == Some(wanted))
}

/// Whether a file holds exactly these bytes; `false` where it may.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let mut found = vec![0; bytes.len() + 1];
    // One read gives all of a file that is no longer than the room for it.
    std::fs::File::open(path)
        .and_then(|mut file| file.read(&mut found))
        .is_ok_and(|count| found[..count] == *bytes)
}

/// As it is written.
fn text(description: &Description) -> Vec<u8> {
    serde_json::to_vec_pretty(description).expect("maps have string keys")
}

/// Writes what the database says now, durably; nothing for a volume that has gone.
pub(crate) fn write(context: &Context<'_>, id: &VolumeId) -> Result<(), VolumeError> {
    // Options may hold passwords.
    put(context, id, |path, text| {
        sys::durable::write_atomic(path, text, 0o600)
    })
}

/// What the database says of every volume, living or in the trash; one look at it.
pub(crate) fn all(context: &Context<'_>) -> Result<Vec<Description>, VolumeError> {
    let (volumes, trash, notes, storage, snapshots, schedules) = context.store.read(|tx| {
        Ok::<_, VolumeError>((
            tx.volumes()?,
            tx.trash()?,
            tx.all_volume_notes()?,
            tx.all_volume_storage()?,
            tx.snapshots_in_any_state()?,
            tx.schedules()?,
        ))
    })?;
    let mut notes: BTreeMap<VolumeId, _> = notes.into_iter().collect();
    let mut storage: BTreeMap<VolumeId, StorageRow> = storage.into_iter().collect();
    let mut schedules: BTreeMap<VolumeId, _> = schedules
        .into_iter()
        .map(|row| (row.volume.clone(), row))
        .collect();
    let mut kept: BTreeMap<VolumeId, Vec<SnapshotRow>> = BTreeMap::new();
    for row in snapshots {
        kept.entry(row.volume.clone()).or_default().push(row);
    }
    let living = volumes.into_iter().map(|row| (row, None));
    let trashed = trash
        .into_iter()
        .map(|row| (row.volume, Some(row.expires_at)));
    Ok(living
        .chain(trashed)
        .map(|(row, trashed_until)| {
            let notes = notes.remove(&row.id).unwrap_or_default();
            let storage = storage.remove(&row.id).unwrap_or_default();
            let snapshots = kept.remove(&row.id).unwrap_or_default();
            let schedule = schedules.remove(&row.id);
            let plain = Description::new(row, &notes);
            Description {
                trashed_until,
                ..plain.with(storage, snapshots, schedule)
            }
        })
        .collect())
}

fn put(
    context: &Context<'_>,
    id: &VolumeId,
    write: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
) -> Result<(), VolumeError> {
    let (row, trashed, notes, storage, snapshots, schedule) = context.store.read(|tx| {
        Ok::<_, VolumeError>((
            tx.volume(id)?,
            tx.trashed(id)?,
            tx.volume_notes(id)?,
            tx.volume_storage(id)?,
            tx.snapshots_of(id)?,
            tx.schedule_of(id)?,
        ))
    })?;
    let trashed_until = trashed.as_ref().map(|trashed| trashed.expires_at.clone());
    let Some(row) = row.or(trashed.map(|trashed| trashed.volume)) else {
        return Ok(());
    };
    let description = Description {
        trashed_until,
        ..Description::new(row, &notes).with(storage, snapshots, schedule)
    };
    let text = text(&description);
    let path = context.paths.volume_metadata(id);
    match write(&path, &text) {
        // A volume whose directory has gone can still be renamed and labelled.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(VolumeError::io("write", path)),
    }
}

/// Takes back the description of a volume that nobody has seen, and what a write that was cut short left of it.
pub(crate) fn remove(directory: &Path) -> Result<(), VolumeError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(VolumeError::io("list", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(VolumeError::io("list", directory))?;
        // A filesystem of the volume's own is its driver's.
        if entry
            .path()
            .extension()
            .is_some_and(|end| end == "image" || end == "making")
        {
            continue;
        }
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
    /// For who has noted something of a volume that is worth having with its data; nobody waits for it.
    pub fn describe_anew(&self, name: &str) {
        if let Ok(row) = self.row(name) {
            self.describe(&row.id);
        }
    }

    /// After a change that is recorded already, and durable by that: nobody waits for its copy. What cannot be written is logged,
    /// for the change has happened.
    pub(crate) fn describe(&self, id: &VolumeId) {
        let written = put(&self.context(), id, |path, text| {
            sys::durable::write_atomic_soon(path, text, 0o600)
        });
        if let Err(error) = written {
            tracing::warn!(volume = id.as_str(), %error, "the description beside the data is not up to date");
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of a test")]
mod tests {
    use super::holds;

    #[test]
    fn only_the_same_bytes_are_what_was_written() {
        let path = std::env::temp_dir().join(format!("orlop-volumes-holds-{}", std::process::id()));
        for (found, same) in [
            ("text", true),
            ("tex", false),
            ("text\n", false),
            ("", false),
        ] {
            std::fs::write(&path, found).unwrap();
            assert_eq!(holds(&path, b"text"), same, "{found:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!holds(&path, b"text"));
    }
}

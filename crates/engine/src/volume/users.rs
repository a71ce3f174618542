//! Who uses a volume, who made it, and who had it last.
//!
//! The notes are written in the transactions that record a container's creation, start and end: they cost no sync of
//! their own, and say nothing that did not happen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{ContainerRow, Measured, StoreError, VolumeBackupRow, VolumeEventRow, WriteTx};
use volumes::{Claim, Inspected, VolumeError, VolumeStorage};

use crate::containers::create::to_json;
use crate::containers::find::Columns as _;
use crate::containers::mounts::ResolvedMount;
use crate::containers::{ContainerError, Containers};
use crate::engine::Engine;
use crate::volume::reseed::{Drift, Seed};

/// One use of a volume by a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeUser {
    pub container: String,
    pub name: String,
    /// As `docker ps` shows it: `running`, `exited` …
    pub state: String,
    pub destination: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    /// The snapshot that it reads instead of the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// The container for which a volume was made, or what it is a clone of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Creator {
    pub container: String,
    pub name: String,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    pub destination: String,
    /// `VOLUME` or `VOLUME@SNAPSHOT`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub clone_of: String,
}

/// The container that mounted a volume last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LastUse {
    pub container: String,
    pub name: String,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    /// RFC 3339.
    pub at: String,
}

/// What is stored of a volume's use.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Uses {
    /// Its time is in a column of its own.
    #[serde(flatten)]
    last: LastUse,
    /// The last one that could write, if that was another.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_writer: Option<LastUse>,
}

/// Everything known of one volume.
#[derive(Debug, Clone)]
pub struct VolumeDetail {
    /// With what its plugin tells of it.
    pub inspected: Inspected,
    pub protected: bool,
    pub exclusive: bool,
    pub used_by: Vec<VolumeUser>,
    pub created_by: Option<Creator>,
    pub last_used: Option<LastUse>,
    /// The last use that could write.
    pub last_writer: Option<LastUse>,
    pub usage: Option<Measured>,
    pub storage: VolumeStorage,
    pub history: Vec<VolumeEventRow>,
    /// The newest one in each repository, the newest of all first.
    pub backups: Vec<VolumeBackupRow>,
    pub seeded_by: Option<Seed>,
    /// Containers that use another image than the one that filled it.
    pub drift: Vec<Drift>,
}

impl Engine {
    /// Everything known of a volume. May have to wait for a plugin.
    ///
    /// # Errors
    /// As [`volumes::Volumes::inspect`].
    pub fn volume_detail(&self, name: &str) -> Result<VolumeDetail, ContainerError> {
        let inspected = self.volumes.inspect(name)?;
        if inspected.volume.id.is_none() {
            return Ok(VolumeDetail {
                inspected,
                protected: false,
                exclusive: false,
                used_by: Vec::new(),
                created_by: None,
                seeded_by: None,
                storage: VolumeStorage::elsewhere(),
                drift: Vec::new(),
                last_used: None,
                last_writer: None,
                usage: None,
                history: Vec::new(),
                backups: Vec::new(),
            });
        }
        let notes = self.volumes.notes(name)?;
        let exclusive = inspected
            .volume
            .labels
            .iter()
            .flatten()
            .any(|(key, value)| key == volumes::EXCLUSIVE_LABEL && value != "false");
        let seeded_by: Option<Seed> = notes.seeded_by.as_deref().and_then(parse);
        Ok(VolumeDetail {
            drift: match &seeded_by {
                Some(seed) => self.containers.drift(name, seed)?,
                None => Vec::new(),
            },
            seeded_by,
            exclusive,
            protected: notes.protected,
            used_by: self.containers.volume_users(name)?,
            created_by: notes.created_by.as_deref().and_then(parse),
            last_writer: last_writer(notes.used_by.as_deref(), notes.used_at.clone()),
            last_used: last_use(notes.used_by.as_deref(), notes.used_at),
            usage: notes.measured,
            storage: self.volumes.storage(name)?,
            history: self.volumes.history(name)?,
            backups: self.volumes.last_backups(name)?,
            inspected,
        })
    }
}

impl Containers {
    /// Every use of a volume by a container, in order of the containers' names.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; a record that cannot be read.
    pub(crate) fn volume_users(&self, name: &str) -> Result<Vec<VolumeUser>, ContainerError> {
        let mut users = Vec::new();
        for id in self.volumes.holders(name)? {
            let Some(row) = self.store.read(|tx| tx.container(&id))? else {
                continue;
            };
            for mount in self.stored_mounts(&row)? {
                if mount.point.kind != "volume" {
                    continue;
                }
                let of_snapshot = mount
                    .point
                    .name
                    .split_once('@')
                    .filter(|_| mount.snapshot.is_some());
                let (volume, snapshot) = match of_snapshot {
                    Some((volume, snapshot)) => (volume, Some(snapshot)),
                    None => (mount.point.name.as_str(), None),
                };
                if volume == name {
                    users.push(VolumeUser {
                        container: row.id.clone(),
                        name: row.name.clone(),
                        state: row.status.clone(),
                        snapshot: snapshot.map(str::to_owned),
                        destination: mount.point.destination,
                        rw: mount.point.rw,
                    });
                }
            }
        }
        users.sort_by(|a, b| (&a.name, &a.destination).cmp(&(&b.name, &b.destination)));
        Ok(users)
    }

    /// Sees to it that the volumes of a container that starts are those that it was made with, and are leased to it: a move
    /// to another engine ends leases, and gives the name free. One that came back from the trash is leased again.
    pub(crate) fn keep_volumes(
        &self,
        row: &ContainerRow,
        mounts: &[ResolvedMount],
    ) -> Result<(), ContainerError> {
        for mount in mounts {
            let (point, Some(was)) = (&mount.point, &mount.volume_id) else {
                continue;
            };
            let is = self.volumes.get(&point.name)?.id;
            if is.is_some_and(|is| is.as_str() != was) {
                return Err(ContainerError::Conflict(format!(
                    "cannot start container \"/{}\": volume {} is another one than it was made with, which was moved or \
                     removed; make the container anew to use this one",
                    row.name, point.name
                )));
            }
            self.volumes
                .lease(&point.name, &row.id, &point.destination, mount.anonymous)?;
        }
        Ok(())
    }

    /// Claims the volumes that a container is about to write to; to be given back with `unclaim` when it runs.
    pub(crate) fn claim_volumes(
        &self,
        row: &ContainerRow,
        mounts: &[ResolvedMount],
    ) -> Result<(), ContainerError> {
        let claims: Vec<Claim> = mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume" && mount.point.rw)
            .map(|mount| Claim {
                volume: mount.point.name.clone(),
                exclusive: mount.exclusive,
            })
            .collect();
        if claims.is_empty() {
            return Ok(());
        }
        self.volumes
            .claim(&row.id, &claims, |name| self.writers(name))
            .map_err(|error: ContainerError| match error {
                ContainerError::Volume(VolumeError::Exclusive { name, holder }) => {
                    let other = self
                        .find(&holder)
                        .map_or(holder, |other| format!("\"/{}\"", other.name));
                    ContainerError::Conflict(format!(
                        "cannot start container \"/{}\": volume {name} has one writer at a time, and container \
                         {other} is writing to it",
                        row.name
                    ))
                }
                other => other,
            })
    }

    /// Containers that run and may write to a volume, and whether their mount is exclusive.
    fn writers(&self, name: &str) -> Result<Vec<(String, bool)>, ContainerError> {
        let mut writers = Vec::new();
        for id in self.volumes.holders(name)? {
            let Some(row) = self.store.read(|tx| tx.container(&id))? else {
                continue;
            };
            if !row.status()?.is_active() {
                continue;
            }
            for mount in self.stored_mounts(&row)? {
                if mount.point.kind == "volume" && mount.point.name == name && mount.point.rw {
                    writers.push((row.id.clone(), mount.exclusive));
                }
            }
        }
        Ok(writers)
    }
}

/// What is stored by [`note_created`]; notes of another version are no reason to fail.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// From the two columns that [`note_use`] writes.
pub fn last_use(used_by: Option<&str>, used_at: Option<String>) -> Option<LastUse> {
    let mut last: LastUse = parse(used_by?)?;
    last.at = used_at?;
    Some(last)
}

/// From the same.
fn last_writer(used_by: Option<&str>, used_at: Option<String>) -> Option<LastUse> {
    let mut uses: Uses = parse(used_by?)?;
    if !uses.last.rw {
        return uses.last_writer;
    }
    uses.last.at = used_at?;
    Some(uses.last)
}

/// Notes for whom the volumes were made that `mounts` made.
pub(crate) fn note_created(
    tx: &WriteTx<'_>,
    row: &ContainerRow,
    command: &[String],
    mounts: &[ResolvedMount],
) -> Result<(), StoreError> {
    for mount in mounts.iter().filter(|mount| mount.fresh) {
        let Some(volume) = tx.volume_by_name(&mount.point.name)? else {
            continue;
        };
        let creator = Creator {
            container: row.id.clone(),
            name: row.name.clone(),
            image: row.image_ref.clone(),
            image_id: row.image_id.clone(),
            command: command.join(" "),
            destination: mount.point.destination.clone(),
            clone_of: String::new(),
        };
        tx.set_volume_creator(&volume.id, &to_json(&creator))?;
    }
    Ok(())
}

/// Notes that a container begins (`mount`) or ends (`unmount`) to use its volumes.
pub(crate) fn note_use(
    tx: &WriteTx<'_>,
    row: &ContainerRow,
    mounts: &[ResolvedMount],
    action: &str,
) -> Result<(), StoreError> {
    let now = Timestamp::now().to_string();
    for mount in mounts.iter().filter(|mount| mount.point.kind == "volume") {
        let Some(volume) = tx.volume_by_name(&mount.point.name)? else {
            continue;
        };
        let last = LastUse {
            container: row.id.clone(),
            name: row.name.clone(),
            image: row.image_ref.clone(),
            image_id: row.image_id.clone(),
            rw: mount.point.rw,
            at: String::new(),
        };
        let last_writer = if last.rw {
            None
        } else {
            let before = tx.volume_notes(&volume.id)?;
            last_writer(before.used_by.as_deref(), before.used_at)
        };
        let uses = Uses { last, last_writer };
        tx.set_volume_used(&volume.id, &to_json(&uses), &now)?;
        let mode = if mount.point.rw { "rw" } else { "ro" };
        let detail = format!("{} at {} ({mode})", row.name, mount.point.destination);
        tx.insert_volume_event(&volume.id, &now, action, &detail)?;
    }
    Ok(())
}

//! Snapshots before risky steps: what a volume held is kept for a week, unless somebody pins it.
//!
//! | step | reason |
//! |---|---|
//! | a container is made on a volume that another image used last | `before-upgrade` |
//! | an archive is imported over data | `before-import` |
//! | files are copied over data | `before-copy` |
//! | a volume is reseeded | `before-reseed` |
//!
//! A restore keeps what was there by itself. The first three happen when the request or the engine's configuration says
//! so, the last one unless the request says no.

use std::io::Read;

use jiff::{SignedDuration, Timestamp};
use volumes::{Imported, VolumeError};

use super::users::last_use;
use crate::containers::mounts::ResolvedMount;
use crate::containers::{ContainerError, CreateRequest, Created, RemoveRequest};
use crate::engine::Engine;
use crate::error::chain;
use crate::progress::{Progress, Silent};
use crate::snapshot::{SnapshotRequest, Stopped, TurnBackError};

/// For how long what was kept stays.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Label with the image for which a snapshot was made.
const FOR_IMAGE: &str = "orlop.before-upgrade.image";

impl Engine {
    /// Makes a container; where care is wished, volumes that another image used last are kept as they are first. It has not
    /// touched them when this returns: only empty volumes are filled.
    ///
    /// # Errors
    /// Those of [`crate::containers::Containers::create`]. A snapshot that cannot be made is one if the request asked for
    /// it, then no container is left; otherwise a warning.
    pub fn create_container(&self, request: CreateRequest) -> Result<Created, ContainerError> {
        let asked = match request.host_config.safety_snapshot.as_str() {
            "" => None,
            "on" => Some(true),
            "off" => Some(false),
            other => {
                return Err(ContainerError::Invalid(format!(
                    "invalid safety snapshot '{other}': must be on or off"
                )));
            }
        };
        let mut created = self.containers.create(request)?;
        if !asked.unwrap_or(self.config.care.safety_snapshots) {
            return Ok(created);
        }
        match self.keep_before_upgrade(&created.id) {
            Ok(said) => created.warnings.extend(said),
            Err(error) if asked.is_none() => created.warnings.push(chain(&error)),
            Err(error) => {
                let request = RemoveRequest {
                    volumes: true,
                    ..RemoveRequest::default()
                };
                self.containers.remove(&created.id, request)?;
                return Err(error);
            }
        }
        Ok(created)
    }

    /// A sentence for each volume that was kept.
    fn keep_before_upgrade(&self, id: &str) -> Result<Vec<String>, ContainerError> {
        let row = self.containers.find(id)?;
        let mut said = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for mount in self.containers.stored_mounts(&row)? {
            let name = &mount.point.name;
            if !may_be_changed(&mount) || seen.contains(name) {
                continue;
            }
            seen.push(name.clone());
            let notes = self.volumes.notes(name)?;
            let Some(last) = last_use(notes.used_by.as_deref(), notes.used_at) else {
                continue;
            };
            if last.image_id.is_empty() || last.image_id == row.image_id {
                continue;
            }
            let done = self
                .volumes
                .snapshots(Some(name))
                .map_err(|error| as_container(error.into()))?
                .into_iter()
                .any(|one| {
                    one.labels.get(FOR_IMAGE) == Some(&row.image_id) && one.created_at > last.at
                });
            if done {
                continue;
            }
            let kept = self
                .keep_before(
                    "upgrade",
                    name,
                    &[(FOR_IMAGE, &row.image_id)],
                    &Silent,
                    &|| false,
                )
                .map_err(as_container)?;
            said.push(format!(
                "volume {name} was last used by image {}: what it holds is kept as {name}@{kept} for a week",
                last.image
            ));
        }
        Ok(said)
    }

    /// Imports an archive ([`volumes::Volumes::import`]); what the volume holds is kept first if care is wished (`None`: as configured).
    ///
    /// # Errors
    /// Those of the import, and of the snapshot: nothing is imported then.
    pub fn import_volume(
        &self,
        name: &str,
        asked: Option<bool>,
        tar: &mut (dyn Read + Send),
    ) -> Result<Imported, TurnBackError> {
        match self.keep_if_wished("import", name, asked) {
            // It may be made by the import.
            Err(TurnBackError::Volume(VolumeError::NotFound(_))) => {}
            other => other?,
        }
        Ok(self.volumes.import(name, tar)?)
    }

    /// Keeps what a volume holds before `step`, if that is wished and it holds anything.
    pub(crate) fn keep_if_wished(
        &self,
        step: &str,
        name: &str,
        asked: Option<bool>,
    ) -> Result<(), TurnBackError> {
        if !asked.unwrap_or(self.config.care.safety_snapshots) {
            return Ok(());
        }
        let holds = self
            .volumes
            .list_files(name, "")
            .map(|files| !files.is_empty());
        if holds? {
            self.keep_before(step, name, &[], &Silent, &|| false)?;
        }
        Ok(())
    }

    /// Keeps what a volume holds, unless it is `stopped`; the name of the snapshot.
    pub(crate) fn keep_before(
        &self,
        step: &str,
        name: &str,
        labels: &[(&str, &str)],
        progress: &dyn Progress,
        stopped: &Stopped<'_>,
    ) -> Result<String, TurnBackError> {
        let now = Timestamp::now();
        let snapshot = format!("before-{step}-{}", now.strftime("%Y-%m-%dT%H-%M-%S-%3f"));
        let expires_at = now.checked_add(KEPT).ok();
        let wanted = SnapshotRequest {
            volumes: vec![name.to_owned()],
            name: Some(snapshot.clone()),
            labels: labels
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            reason: format!("before-{step}"),
            expires_at,
            ..SnapshotRequest::default()
        };
        self.snapshots.create(wanted, progress, stopped)?;
        Ok(snapshot)
    }
}

fn may_be_changed(mount: &ResolvedMount) -> bool {
    mount.point.kind == "volume" && mount.point.rw && mount.snapshot.is_none() && !mount.made_here
}

pub(super) fn as_container(error: TurnBackError) -> ContainerError {
    match error {
        TurnBackError::Container(error) => error,
        TurnBackError::Volume(error) => ContainerError::Volume(error),
        TurnBackError::Store(error) => ContainerError::Store(error),
        other => ContainerError::Conflict(format!("no safety snapshot: {}", chain(&other))),
    }
}

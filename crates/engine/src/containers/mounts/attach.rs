//! `attach` and `detach`: mounts of a container that exists already, be it running or not.
//!
//! Steps of `attach`, a journaled operation:
//! 1. `prepare`: the volume exists, is leased and filled, as at a creation
//! 2. `mount`: the shim of a running container mounts it
//! 3. commit: the mount is in the container's record, and for good ones in its configuration
//!
//! Steps of `detach`:
//! 1. `unmount`: the shim takes it out
//! 2. commit: record, configuration and lease forget it
//!
//! Before the commit everything is undone, a `detach` by mounting again. Both verbs hold off the end of the container, so
//! that its record has every mount that its end gives back.
//!
//! Nothing is attached over a mount, or above one: a restart mounts by depth, and would show another picture.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use shim_protocol::Request;
use store::journal::{self, Operation, Recovered};
use store::{ContainerRow, OpId, Paths, SnapshotId, StoreError, WriteTx};

use super::realise::volume_names;
use super::resolve::{duplicate, says_of_missing};
use super::{ResolvedMount, bind_spec, clean, mount_spec, name_as_present};
use crate::containers::config::{MountRequest, TmpfsOptions};
use crate::containers::create::to_json;
use crate::containers::find::Columns as _;
use crate::containers::inspect::MountPoint;
use crate::containers::{ContainerError, Containers, HostConfig, Status};
use crate::volume::users::{note_created, note_use};

/// How a mount is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountForm {
    /// As `--mount` says it.
    Long(Box<MountRequest>),
    /// As `-v` says it.
    Short(String),
}

/// A mount of a container as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountDetail {
    #[serde(flatten)]
    pub point: MountPoint,
    /// It goes when the container stops.
    pub temporary: bool,
    #[serde(rename = "IDMap", skip_serializing_if = "Option::is_none")]
    pub idmap: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl From<&ResolvedMount> for MountDetail {
    fn from(mount: &ResolvedMount) -> Self {
        Self {
            point: mount.point.clone(),
            temporary: mount.temporary,
            idmap: mount.idmap.clone(),
            exclude: mount.exclude.clone(),
        }
    }
}

impl Containers {
    /// The mounts of a container, the engine's own left out.
    ///
    /// # Errors
    /// [`ContainerError::NoSuch`].
    pub fn mounts(&self, reference: &str) -> Result<Vec<MountDetail>, ContainerError> {
        let row = self.find(reference)?;
        let mounts = self.stored_mounts(&row)?;
        let mut shown: Vec<MountDetail> = mounts.iter().map(MountDetail::from).collect();
        for (target, _) in row.host_config()?.tmpfs.iter().flatten() {
            shown.push(MountDetail::from(&memory(&clean(target))));
        }
        shown.sort_by(|a, b| a.point.destination.cmp(&b.point.destination));
        Ok(shown)
    }

    /// Adds a mount, at once when the container runs; warnings beside it. `temporary`: until the container stops.
    ///
    /// # Errors
    /// Those of a creation with this mount; [`ContainerError::Conflict`] when something is mounted there or below, or the
    /// state of the container forbids it. Nothing is attached then.
    pub fn attach_mount(
        self: &Arc<Self>,
        reference: &str,
        form: MountForm,
        temporary: bool,
    ) -> Result<(MountDetail, Vec<String>), ContainerError> {
        self.with_mounts_of(reference, |row, live| {
            if temporary && !live {
                return Err(ContainerError::NotRunning(row.id.clone()));
            }
            let host = row.host_config()?;
            let mut mount = self.resolve_form(&form, &host)?;
            mount.temporary = temporary;
            self.check_place(row, &host, &mount.point.destination)?;
            let lowers = self.images.lowers(&row.image_id)?;
            let warnings = self.settle_sources(std::slice::from_mut(&mut mount), &lowers)?;
            Self::name_anonymous(std::slice::from_mut(&mut mount));
            let attach = Attach {
                container: row.id.clone(),
                name: row.name.clone(),
                mount,
                form,
                live,
                prepared: RefCell::default(),
                paths: Some(Paths::clone(&self.paths)),
            };
            let claimed =
                if live && attach.mount.snapshot.is_none() && self.is_volume(&attach.mount) {
                    self.claim_volumes(row, std::slice::from_ref(&attach.mount))
                } else {
                    Ok(())
                };
            let done = claimed.and_then(|()| journal::execute(&self.store, &attach, self));
            self.volumes.unclaim(&row.id);
            done?;
            let mount = attach.prepared.into_inner().unwrap_or(attach.mount);
            self.tell_mount(row, &mount, "mount", live);
            Ok((MountDetail::from(&mount), warnings))
        })
    }

    /// Takes the mount at `target` out, at once when the container runs; `lazy` also one that is in use.
    ///
    /// # Errors
    /// [`ContainerError::NotFound`] when nothing of the user's is mounted there, [`ContainerError::Conflict`] when it is in
    /// use. It stays then.
    pub fn detach_mount(
        self: &Arc<Self>,
        reference: &str,
        target: &str,
        lazy: bool,
    ) -> Result<MountDetail, ContainerError> {
        let target = clean(target);
        self.with_mounts_of(reference, |row, live| {
            let host = row.host_config()?;
            let mounts = self.stored_mounts(row)?;
            let memory = || {
                let tmpfs = host.tmpfs.iter().flatten();
                let listed = tmpfs.into_iter().any(|(path, _)| clean(path) == target);
                listed.then(|| memory(&target))
            };
            let mount = mounts
                .into_iter()
                .find(|mount| mount.point.destination == target)
                .or_else(memory)
                .ok_or_else(|| {
                    ContainerError::NotFound(format!(
                        "container \"/{}\" has nothing mounted at {target}",
                        row.name
                    ))
                })?;
            if live
                && !lazy
                && let Some(below) = self.mounted_below(row, &host, &target)?
            {
                return Err(ContainerError::Conflict(format!(
                    "cannot unmount {target}: {below} is mounted below it, unmount that first"
                )));
            }
            let detach = Detach {
                container: row.id.clone(),
                name: row.name.clone(),
                mount,
                live,
                lazy,
            };
            journal::execute(&self.store, &detach, self)?;
            let mount = detach.mount;
            if live && self.is_volume(&mount) {
                self.recount(&row.id, &mount)?;
            }
            self.tell_mount(row, &mount, "unmount", live);
            Ok(MountDetail::from(&mount))
        })
    }

    /// Calls `act` with the container's record, and whether it runs, while nobody starts, removes or ends it.
    fn with_mounts_of<T>(
        self: &Arc<Self>,
        reference: &str,
        act: impl FnOnce(&ContainerRow, bool) -> Result<T, ContainerError>,
    ) -> Result<T, ContainerError> {
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let _teardown = live.teardown.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        let runs = match row.status()? {
            Status::Running | Status::Paused => true,
            Status::Created | Status::Exited => false,
            Status::Restarting => {
                return Err(ContainerError::Conflict(format!(
                    "container {id} is restarting, wait until it runs"
                )));
            }
            Status::Creating | Status::Removing | Status::Dead => {
                return Err(ContainerError::Conflict(
                    "container is marked for removal".to_owned(),
                ));
            }
        };
        act(&row, runs)
    }

    fn resolve_form(
        &self,
        form: &MountForm,
        host: &HostConfig,
    ) -> Result<ResolvedMount, ContainerError> {
        let (mut mount, says) = match form {
            MountForm::Short(raw) => (bind_spec::parse(raw, &host.volume_driver)?, ""),
            MountForm::Long(request) => {
                mount_spec::check(request, true)?;
                (mount_spec::resolve(request), says_of_missing(request))
            }
        };
        if mount.point.kind == "image" {
            return Err(ContainerError::Invalid(
                "an image can be mounted only when a container is created".to_owned(),
            ));
        }
        self.settle_propagation(&mut mount)?;
        self.settle_missing(&mut mount, host, says)?;
        Ok(mount)
    }

    fn check_place(
        &self,
        row: &ContainerRow,
        host: &HostConfig,
        target: &str,
    ) -> Result<(), ContainerError> {
        if self.targets(row, host)?.contains(target) {
            return Err(duplicate(target));
        }
        match self.mounted_below(row, host, target)? {
            Some(below) => Err(ContainerError::Conflict(format!(
                "cannot mount at {target}: {below} is mounted below it"
            ))),
            None => Ok(()),
        }
    }

    /// Where the container has mounts of its own.
    fn targets(
        &self,
        row: &ContainerRow,
        host: &HostConfig,
    ) -> Result<BTreeSet<String>, ContainerError> {
        let own = self.engine_mounts(&row.id, host);
        Ok(self
            .stored_mounts(row)?
            .into_iter()
            .map(|mount| mount.point.destination)
            .chain(host.tmpfs.iter().flatten().map(|(path, _)| clean(path)))
            .chain(own.into_iter().map(|mount| mount.target))
            .collect())
    }

    fn mounted_below(
        &self,
        row: &ContainerRow,
        host: &HostConfig,
        target: &str,
    ) -> Result<Option<String>, ContainerError> {
        let inside = format!("{target}/");
        let targets = self.targets(row, host)?;
        Ok(targets.into_iter().find(|other| other.starts_with(&inside)))
    }

    fn is_volume(&self, mount: &ResolvedMount) -> bool {
        let exists = || self.volumes.get(&mount.point.name).is_ok();
        mount.point.kind == "volume" && mount.snapshot.is_none() && exists()
    }

    /// Counts the container's uses of a volume as its record has them.
    fn recount(&self, id: &str, mount: &ResolvedMount) -> Result<(), ContainerError> {
        let Some(row) = self.store.read(|tx| tx.container(id))? else {
            return Ok(());
        };
        let uses = if row.status()?.is_active() {
            let mounts = self.stored_mounts(&row)?;
            volume_names(&mounts)
                .filter(|name| *name == mount.point.name)
                .count()
        } else {
            0
        };
        let uses = u32::try_from(uses).unwrap_or(u32::MAX);
        Ok(self.volumes.recount(&mount.point.name, id, uses)?)
    }

    fn tell_mount(&self, row: &ContainerRow, mount: &ResolvedMount, action: &str, live: bool) {
        if live {
            self.publish_mounts(row, std::slice::from_ref(mount), action);
        }
        let point = &mount.point;
        let attributes = [
            ("type", point.kind.as_str()),
            ("destination", &point.destination),
            ("source", &point.source),
            ("temporary", if mount.temporary { "true" } else { "false" }),
        ];
        self.publish(row, action, &attributes);
    }

    fn ask_to_unmount(&self, id: &str, target: &str, lazy: bool) -> Result<(), ContainerError> {
        let request = Request::Unmount {
            target: target.to_owned(),
            lazy,
        };
        self.ask(id, &request).map(drop).map_err(of_another_version)
    }

    fn ask_to_mount(&self, id: &str, mount: &ResolvedMount) -> Result<(), ContainerError> {
        let request = Request::Mount {
            mount: Box::new(self.realise(id, mount)?),
            keep: !mount.temporary,
        };
        self.ask(id, &request).map(drop).map_err(of_another_version)
    }

    /// Undoes what a crash has cut short; a sentence for each. Shims that live are known.
    pub(in crate::containers) fn recover_mounts(
        self: &Arc<Self>,
    ) -> Result<Vec<String>, ContainerError> {
        let mut sentences = Vec::new();
        for (what, outcomes) in [
            ("mount into", journal::recover::<Attach>(&self.store, self)?),
            (
                "unmount from",
                journal::recover::<Detach>(&self.store, self)?,
            ),
        ] {
            for outcome in outcomes {
                sentences.push(match outcome {
                    Recovered::Undone { object } => {
                        format!("unfinished {what} container {object} was undone")
                    }
                    Recovered::Completed { object } => {
                        format!("unfinished {what} container {object} was completed")
                    }
                    Recovered::Stuck { object, error, .. } => {
                        format!("unfinished {what} container {object} cannot be undone: {error}")
                    }
                });
            }
        }
        Ok(sentences)
    }
}

/// A shim of an earlier version refuses what it does not know.
fn of_another_version(error: ContainerError) -> ContainerError {
    match error {
        ContainerError::Conflict(reason) if reason.contains("unknown variant") => {
            ContainerError::Conflict(
                "an earlier version of the engine started this container: restart it first"
                    .to_owned(),
            )
        }
        other => other,
    }
}

/// What `--tmpfs` has mounted.
fn memory(target: &str) -> ResolvedMount {
    ResolvedMount {
        point: MountPoint {
            kind: "tmpfs".to_owned(),
            destination: target.to_owned(),
            rw: true,
            ..MountPoint::default()
        },
        tmpfs: Some(TmpfsOptions::default()),
        ..ResolvedMount::default()
    }
}

/// Ends what a container's lease of one mount keeps. `others` are the mounts that it still has.
pub(in crate::containers) fn end_lease(
    tx: &WriteTx<'_>,
    container: &str,
    mount: &ResolvedMount,
    others: &[ResolvedMount],
) -> Result<(), StoreError> {
    let point = &mount.point;
    if point.kind != "volume" {
        return Ok(());
    }
    let (volume, snapshot) = match (&mount.snapshot, point.name.split_once('@')) {
        (Some(snapshot), _) => (Some(snapshot.volume.clone()), Some(snapshot.id.clone())),
        // Leased by an attach that a crash cut short.
        (None, Some((volume, name))) => match tx.volume_by_name(volume)? {
            Some(volume) => {
                let snapshot = tx.snapshot_by_name(&volume.id, name)?;
                (Some(volume.id), snapshot.map(|row| row.id))
            }
            None => (None, None),
        },
        (None, None) => (tx.volume_by_name(&point.name)?.map(|row| row.id), None),
    };
    if let Some(volume) = volume {
        tx.delete_lease(&volume, container, &point.destination)?;
    }
    let shared = |id: &SnapshotId| {
        let mut leased = others.iter().filter_map(|other| other.snapshot.as_ref());
        leased.any(|other| other.id == *id)
    };
    match snapshot {
        Some(id) if !shared(&id) => tx.release_snapshot(&id, container),
        _ => Ok(()),
    }
}

fn stored(row: &ContainerRow) -> Result<Vec<ResolvedMount>, StoreError> {
    serde_json::from_str(&row.mounts).map_err(|_| unreadable(row, "mounts"))
}

fn configured(row: &ContainerRow) -> Result<HostConfig, StoreError> {
    serde_json::from_str(&row.host_config).map_err(|_| unreadable(row, "host_config"))
}

fn unreadable(row: &ContainerRow, column: &'static str) -> StoreError {
    StoreError::Unreadable {
        table: "containers",
        id: row.id.clone(),
        column,
    }
}

fn existing(tx: &WriteTx<'_>, id: &str) -> Result<ContainerRow, ContainerError> {
    tx.container(id)?
        .ok_or_else(|| ContainerError::NoSuch(id.to_owned()))
}

/// The journaled operation of `attach`.
#[derive(Debug, Serialize, Deserialize)]
struct Attach {
    container: String,
    /// For people.
    name: String,
    mount: ResolvedMount,
    form: MountForm,
    /// It runs.
    live: bool,
    /// The mount with its volume.
    #[serde(skip)]
    prepared: RefCell<Option<ResolvedMount>>,
    /// Not where recovery goes on with it, which meets no rename.
    #[serde(skip)]
    paths: Option<Paths>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttachStep {
    Prepare,
    Mount,
}

impl Attach {
    fn mounted(&self) -> ResolvedMount {
        let prepared = self.prepared.borrow();
        prepared.as_ref().unwrap_or(&self.mount).clone()
    }
}

impl Operation for Attach {
    const KIND: &'static str = "container-mount";
    const STEPS: &'static [(&'static str, AttachStep)] = &[
        ("prepare", AttachStep::Prepare),
        ("mount", AttachStep::Mount),
    ];
    const COMMIT: Option<AttachStep> = Some(AttachStep::Mount);
    type Step = AttachStep;
    type Context<'a> = Arc<Containers>;
    type Error = ContainerError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        Ok(())
    }

    fn run(
        &self,
        step: AttachStep,
        _op: &OpId,
        containers: &Arc<Containers>,
    ) -> Result<(), ContainerError> {
        match step {
            AttachStep::Prepare => {
                let row = containers.find(&self.container)?;
                let lowers = containers.images.lowers(&row.image_id)?;
                let mut mount = self.mount.clone();
                containers.prepare_mounts(
                    &self.container,
                    std::slice::from_mut(&mut mount),
                    &lowers,
                )?;
                self.prepared.replace(Some(mount));
                Ok(())
            }
            AttachStep::Mount if self.live => {
                containers.ask_to_mount(&self.container, &self.mounted())
            }
            AttachStep::Mount => Ok(()),
        }
    }

    fn record(&self, step: AttachStep, tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        if step == AttachStep::Prepare {
            return Ok(());
        }
        let mut row = existing(tx, &self.container)?;
        let mount = self.mounted();
        let mut mounts = stored(&row)?;
        mounts.push(mount.clone());
        row.mounts = to_json(&mounts);
        if !mount.temporary {
            let mut host = configured(&row)?;
            match &self.form {
                MountForm::Long(request) => {
                    host.mounts
                        .get_or_insert_default()
                        .push((**request).clone());
                }
                MountForm::Short(raw) => host.binds.get_or_insert_default().push(raw.clone()),
            }
            row.host_config = to_json(&host);
        }
        if let Some(paths) = &self.paths {
            name_as_present(tx, paths, &mut row)?;
        }
        tx.update_container(&row)?;
        let one = std::slice::from_ref(&mount);
        note_created(tx, &row, &[], one)?;
        if self.live {
            note_use(tx, &row, one, "mount")?;
        }
        Ok(())
    }

    fn undo(
        &self,
        step: AttachStep,
        _op: &OpId,
        containers: &Arc<Containers>,
    ) -> Result<(), ContainerError> {
        let id = &self.container;
        match step {
            AttachStep::Mount if self.live => {
                match containers.ask_to_unmount(id, &self.mount.point.destination, true) {
                    // What does not run has no mounts; a shim that does not know the request has not carried it out.
                    Ok(()) | Err(ContainerError::NotRunning(_) | ContainerError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
                if containers.is_volume(&self.mount) {
                    containers.recount(id, &self.mount)?;
                }
                Ok(())
            }
            AttachStep::Mount => Ok(()),
            AttachStep::Prepare => {
                let mount = self.mounted();
                containers.store.write(|tx| match tx.container(id)? {
                    Some(row) => end_lease(tx, id, &mount, &stored(&row)?),
                    None => Ok(()),
                })?;
                if mount.made_here {
                    containers
                        .volumes
                        .discard_anonymous_if_unused(&mount.point.name)?;
                }
                Ok(())
            }
        }
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        Ok(())
    }
}

/// The journaled operation of `detach`.
#[derive(Debug, Serialize, Deserialize)]
struct Detach {
    container: String,
    /// For people.
    name: String,
    mount: ResolvedMount,
    live: bool,
    lazy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DetachStep {
    Unmount,
}

impl Operation for Detach {
    const KIND: &'static str = "container-unmount";
    const STEPS: &'static [(&'static str, DetachStep)] = &[("unmount", DetachStep::Unmount)];
    const COMMIT: Option<DetachStep> = Some(DetachStep::Unmount);
    type Step = DetachStep;
    type Context<'a> = Arc<Containers>;
    type Error = ContainerError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        Ok(())
    }

    fn run(
        &self,
        _step: DetachStep,
        _op: &OpId,
        containers: &Arc<Containers>,
    ) -> Result<(), ContainerError> {
        if !self.live {
            return Ok(());
        }
        containers.ask_to_unmount(&self.container, &self.mount.point.destination, self.lazy)
    }

    fn record(&self, _step: DetachStep, tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        let mut row = existing(tx, &self.container)?;
        let target = &self.mount.point.destination;
        let mut mounts = stored(&row)?;
        mounts.retain(|mount| mount.point.destination != *target);
        row.mounts = to_json(&mounts);
        let mut host = configured(&row)?;
        if let Some(binds) = &mut host.binds {
            binds.retain(|raw| {
                bind_spec::parse(raw, "").is_ok_and(|mount| mount.point.destination != *target)
            });
        }
        if let Some(requests) = &mut host.mounts {
            requests.retain(|request| clean(&request.target) != *target);
        }
        if let Some(tmpfs) = &mut host.tmpfs {
            tmpfs.retain(|path, _| clean(path) != *target);
        }
        row.host_config = to_json(&host);
        tx.update_container(&row)?;
        end_lease(tx, &self.container, &self.mount, &mounts)?;
        if self.live {
            note_use(tx, &row, std::slice::from_ref(&self.mount), "unmount")?;
        }
        Ok(())
    }

    fn undo(
        &self,
        _step: DetachStep,
        _op: &OpId,
        containers: &Arc<Containers>,
    ) -> Result<(), ContainerError> {
        if !self.live {
            return Ok(());
        }
        match containers.ask_to_mount(&self.container, &self.mount) {
            // What ended meanwhile mounts it with its next start.
            Ok(()) | Err(ContainerError::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        if containers.is_volume(&self.mount) {
            containers.recount(&self.container, &self.mount)?;
        }
        Ok(())
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), ContainerError> {
        Ok(())
    }
}

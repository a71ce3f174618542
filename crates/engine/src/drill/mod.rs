//! Restore drills: a backup is only worth what a restore of it gives, so one is made and looked at.
//!
//! Steps:
//! 1. `drill/<id>` is recorded with the names of volume and container: from here on recovery takes them away
//! 2. the backup is restored into a volume of its own, every piece of data being checked as it comes; it is labelled and
//!    leased from the moment at which it is seen, so that nobody backs it up or prunes it
//! 3. the volume is compared with the backup's own listing ([`compare`])
//! 4. a command, the user's or a ready-made one ([`recipe`]), looks at it in a container ([`container`])
//! 5. container and volume go, whatever 2 to 4 say
//! 6. how it ended is recorded, and told by an event
//!
//! A volume is *proven* when 2 to 4 succeeded.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{DrillRow, OpId, Store};
use volumes::{Disposal, Volume, VolumeError, Volumes};

use crate::backups::{BackupDetail, Backups, Beside, RestoreRequest};
use crate::cancel::Cancel;
use crate::containers::{ContainerError, Containers, RemoveRequest};
use crate::error::chain;
use crate::events::Events;
use crate::progress::Progress;

mod compare;
mod container;
mod error;
mod recipe;

pub use error::DrillError;

const KEY: &str = "drill/";
/// What a drill's volume and container are called, before the beginning of its id.
const PREFIX: &str = "drill-";
/// The label of both: what is drilled.
const LABEL: &str = "orlop.drill";
/// How long a command may take, when nobody said.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a drill does with the restored volume beside comparing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Exercise {
    /// Empty: that of the first container that had the volume.
    pub image: String,
    /// For `sh -c`; it succeeds with exit code 0. Empty: the recipe's, or none.
    pub command: String,
    /// Name of a ready-made command; `auto`: the one that fits the image, if any.
    pub recipe: String,
    /// Where the volume is in the container; empty: where the first container had it.
    pub target: String,
    /// The command may write to the restored volume; recipes of servers may anyway.
    pub writable: bool,
    pub env: Vec<String>,
    /// `None`: as the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

/// What shall be drilled.
#[derive(Debug, Clone, Default)]
pub struct DrillRequest {
    /// `REPOSITORY:VOLUME[@WHICH]`.
    pub from: String,
    pub exercise: Exercise,
}

/// A drill that proved its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    pub id: String,
    pub volume: String,
    pub repository: String,
    /// Id of the backup.
    pub backup: String,
    /// RFC 3339: the instant that the backup shows.
    pub backup_time: String,
    /// RFC 3339: when the drill ended.
    pub at: String,
    pub took: Duration,
    pub files: u64,
    pub bytes: u64,
    /// What was run; empty: nothing.
    pub command: String,
    /// The end of what that said.
    pub said: String,
}

/// What is known of the drills of a volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Proof {
    /// RFC 3339: when a drill last proved that it can be restored.
    pub last_proven: Option<String>,
    /// Of the drill that did.
    pub repository: Option<String>,
    pub backup: Option<String>,
    pub backup_time: Option<String>,
    pub command: Option<String>,
    pub files: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// RFC 3339: when the last drill ended, and why it failed if it did.
    pub last_drill: String,
    pub last_failure: Option<String>,
}

/// The drills of one engine.
#[derive(Debug)]
pub struct Drills {
    backups: Arc<Backups>,
    containers: Arc<Containers>,
    volumes: Arc<Volumes>,
    store: Arc<Store>,
    events: Events,
}

/// What a drill has made.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    /// Of the volume and of the container.
    name: String,
}

/// What the volume and the container of a drill are called, and who holds the volume.
#[derive(Clone, Copy)]
struct Own<'a> {
    name: &'a str,
    holder: &'a str,
}

/// What came of steps 2 to 4, as far as they went.
#[derive(Debug, Default)]
struct Found {
    files: u64,
    bytes: u64,
    command: String,
    said: String,
}

/// Whether a volume was made for a drill.
pub(crate) fn is_thrown_away(volume: &Volume) -> bool {
    volume
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(LABEL))
        && volume.name.starts_with(PREFIX)
}

impl Drills {
    /// Takes away what an earlier engine's unfinished drills left; a sentence for each.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub(crate) fn open(
        backups: &Arc<Backups>,
        containers: &Arc<Containers>,
    ) -> Result<(Arc<Self>, Vec<String>), DrillError> {
        let drills = Arc::new(Self {
            backups: Arc::clone(backups),
            containers: Arc::clone(containers),
            volumes: Arc::clone(&containers.volumes),
            store: Arc::clone(&containers.store),
            events: containers.events.clone(),
        });
        let mut sentences = Vec::new();
        for key in drills.store.read(|tx| tx.meta_with_prefix(KEY))? {
            let made = drills
                .store
                .read(|tx| tx.meta(&key))?
                .and_then(|text| serde_json::from_str::<Made>(&text).ok());
            let gone = made
                .as_ref()
                .map_or(Ok(()), |made| drills.take_away(&made.name));
            match gone {
                Ok(()) => {
                    drills.store.write(|tx| tx.delete_meta(&key))?;
                    sentences.push("what an unfinished drill had restored was removed".to_owned());
                }
                // It is tried again at the next start.
                Err(error) => {
                    let error: &dyn Error = &error;
                    tracing::error!(error, key, "what a drill left cannot be removed");
                }
            }
        }
        Ok((drills, sentences))
    }

    /// Refuses what no drill could do.
    ///
    /// # Errors
    /// [`DrillError::Recipe`].
    pub fn check(&self, exercise: &Exercise) -> Result<(), DrillError> {
        recipe::check(&exercise.recipe)
    }

    /// Drills a backup.
    ///
    /// # Errors
    /// [`DrillError`]: the volume is not proven. Also then nothing of the drill is left.
    pub fn drill(
        &self,
        request: &DrillRequest,
        progress: &dyn Progress,
        cancel: &Arc<Cancel>,
    ) -> Result<Drilled, DrillError> {
        self.check(&request.exercise)?;
        let began = Instant::now();
        let detail = self.backups.show(&request.from)?;
        let id = OpId::random();
        let name = format!("{PREFIX}{}", &id.as_str()[..12]);
        let key = format!("{KEY}{id}");
        let made = serde_json::to_string(&Made { name: name.clone() }).expect("plain data");
        self.store.write(|tx| tx.set_meta(&key, &made))?;
        sys::fault::step("backup-drill:recorded");
        let mut found = Found::default();
        let holder = Backups::new_holder();
        let own = Own {
            name: &name,
            holder: &holder,
        };
        let done = self.perform(request, &detail, own, &mut found, progress, cancel);
        sys::fault::step("backup-drill:done");
        let gone = match self.volumes.release(&holder) {
            Ok(_) => self.take_away(&name),
            Err(error) => Err(error.into()),
        };
        if gone.is_ok() {
            self.store.write(|tx| tx.delete_meta(&key))?;
        }
        sys::fault::step("backup-drill:removed");
        let drilled = Drilled {
            id: id.to_string(),
            volume: detail.info.volume.clone().unwrap_or_default(),
            repository: detail.info.repository.clone(),
            backup: detail.info.id.clone(),
            backup_time: detail.info.time.clone(),
            at: Timestamp::now().to_string(),
            took: began.elapsed(),
            files: found.files,
            bytes: found.bytes,
            command: found.command,
            said: found.said,
        };
        // Nobody is told of a drill that somebody gave up: it says nothing of the backup.
        if cancel.is_cancelled() {
            done?;
        } else {
            self.record(&id, &drilled, done.as_ref().err())?;
            done?;
        }
        gone?;
        Ok(drilled)
    }

    /// What is known of every volume's drills, by its name now.
    ///
    /// # Errors
    /// [`DrillError::Store`].
    pub fn proofs(&self) -> Result<BTreeMap<String, Proof>, DrillError> {
        let (rows, volumes) = self
            .store
            .read(|tx| Ok::<_, DrillError>((tx.drills()?, tx.volumes()?)))?;
        let names: BTreeMap<_, _> = volumes.into_iter().map(|row| (row.id, row.name)).collect();
        let mut proofs: BTreeMap<String, Proof> = BTreeMap::new();
        for row in rows {
            let name = match &row.volume_id {
                // A volume of the same name that was made later is another one.
                Some(id) => names.get(id).cloned(),
                None => Some(row.volume.clone()),
            };
            let Some(name) = name else { continue };
            let proof = proofs.entry(name).or_insert_with(|| Proof {
                last_drill: row.at.clone(),
                last_failure: Some(row.failure.clone()).filter(|failure| !failure.is_empty()),
                ..Proof::default()
            });
            if row.failure.is_empty() && proof.last_proven.is_none() {
                proof.seconds = Duration::from_millis(row.took_milliseconds).as_secs_f64();
                (proof.files, proof.bytes) = (row.files, row.bytes);
                proof.last_proven = Some(row.at);
                proof.repository = Some(row.repository);
                proof.backup = Some(row.backup);
                proof.backup_time = Some(row.backup_at);
                proof.command = Some(row.command).filter(|command| !command.is_empty());
            }
        }
        Ok(proofs)
    }

    /// All drills that are remembered, the newest first.
    ///
    /// # Errors
    /// [`DrillError::Store`].
    pub fn list(&self) -> Result<Vec<DrillRow>, DrillError> {
        Ok(self.store.read(|tx| tx.drills())?)
    }

    /// Steps 2 to 4.
    fn perform(
        &self,
        request: &DrillRequest,
        detail: &BackupDetail,
        own: Own<'_>,
        found: &mut Found,
        progress: &dyn Progress,
        cancel: &Arc<Cancel>,
    ) -> Result<(), DrillError> {
        let Own { name, holder } = own;
        let task = container::Task::of(&request.exercise, detail)?;
        // This backup and no newer one, whatever happens meanwhile.
        let from = format!(
            "{}:{}@{}",
            detail.info.repository,
            detail.info.volume.as_deref().unwrap_or_default(),
            detail.info.id
        );
        let restored = self.backups.restore(
            &RestoreRequest {
                from: from.clone(),
                name: Some(name.to_owned()),
                beside: Beside {
                    labels: [(LABEL.to_owned(), from.clone())].into(),
                    holder: Some(holder.to_owned()),
                },
                ..RestoreRequest::default()
            },
            progress,
            cancel,
        )?;
        (found.files, found.bytes) = (restored.files, restored.bytes);
        sys::fault::step("backup-drill:restored");
        progress.status(name, "Comparing");
        let volume = detail.info.volume.as_deref().unwrap_or_default();
        self.backups
            .while_all_stays(&from, || self.compare(&from, volume, name, cancel))??;
        sys::fault::step("backup-drill:compared");
        if let Some(task) = task {
            found.command.clone_from(&task.command);
            progress.status(name, "Checking in a container");
            found.said = self.run(&task, name, cancel)?;
        }
        Ok(())
    }

    /// Step 5. Idempotent.
    fn take_away(&self, name: &str) -> Result<(), DrillError> {
        let request = RemoveRequest {
            force: true,
            volumes: true,
            ..RemoveRequest::default()
        };
        match self.containers.remove(name, request) {
            Ok(_) | Err(ContainerError::NoSuch(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match self.volumes.get(name) {
            Ok(_) => {}
            Err(VolumeError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // The volume that was backed up may have been protected.
        if self.volumes.notes(name)?.protected {
            self.volumes.protect(name, false)?;
        }
        Ok(self.volumes.dispose(name, true, Disposal::Now)?)
    }

    /// Step 6.
    fn record(
        &self,
        id: &OpId,
        drilled: &Drilled,
        failure: Option<&DrillError>,
    ) -> Result<(), DrillError> {
        let failure = failure.map(|error| chain(error)).unwrap_or_default();
        let volume_id = match self.volumes.get(&drilled.volume) {
            Ok(volume) => volume.id,
            Err(_) => None,
        };
        self.store.write(|tx| {
            if let Some(volume) = &volume_id {
                let (action, detail) = if failure.is_empty() {
                    (
                        "proven",
                        format!("{:.8} in {}", drilled.backup, drilled.repository),
                    )
                } else {
                    ("drill_failed", failure.clone())
                };
                tx.insert_volume_event(volume, &drilled.at, action, &detail)?;
            }
            tx.insert_drill(&DrillRow {
                id: id.clone(),
                volume: drilled.volume.clone(),
                volume_id,
                repository: drilled.repository.clone(),
                backup: drilled.backup.clone(),
                backup_at: drilled.backup_time.clone(),
                at: drilled.at.clone(),
                took_milliseconds: u64::try_from(drilled.took.as_millis()).unwrap_or(u64::MAX),
                files: drilled.files,
                bytes: drilled.bytes,
                command: drilled.command.clone(),
                failure: failure.clone(),
            })
        })?;
        let mut attributes = BTreeMap::from([
            ("repository".to_owned(), drilled.repository.clone()),
            ("backup".to_owned(), drilled.backup.clone()),
        ]);
        let action = if failure.is_empty() {
            "proven"
        } else {
            attributes.insert("error".to_owned(), failure);
            "drill_failed"
        };
        self.events
            .publish("volume", action, drilled.volume.clone(), attributes);
        Ok(())
    }
}

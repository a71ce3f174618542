//! The trash: a removed volume that holds data can be had back for a while.
//!
//! A volume in the trash has no name and no link; its bytes stay in `data/<id>`, its record is in a table of its own.
//! Removals go there when [`TrashPolicy`] says so and there is something to lose: a volume without a single file is
//! deleted outright.
//!
//! Steps of the journaled operation:
//! 1. begin, the commit point: no lease, no mount, no protection; the record moves into the trash, the name is free. Of a
//!    volume that was moved elsewhere, leases of those who are told to do without it end here
//! 2. `unlink`: the link by name goes, the description beside the data says where the volume is
//!
//! How long things stay: for the grace period. Beyond the size limit the oldest go earlier; a volume that alone exceeds the
//! limit is not counted and stays for its time, until a tenth of the filesystem is not free any more. Then everything counts.
//! Where next to nothing is free the oldest make room. Each filesystem has its own account: [`room`]. Who goes so is told of.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, TrashRow, VolumeId, VolumeRow, VolumeState, WriteTx};

use crate::create::Context;
use crate::purge::Purge;
use crate::{VolumeAction, VolumeError, Volumes, link};

pub(crate) mod room;

const KEY: &str = "volume-trash";
const DAY: u64 = 24 * 60 * 60;
/// Percent of the filesystem.
const DEFAULT_LIMIT: u8 = 10;

/// How long removed volumes are kept, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashPolicy {
    /// Seconds; 0: there is no trash.
    pub grace: u64,
    pub limit: TrashLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrashLimit {
    Bytes(u64),
    /// Of each filesystem on which removed volumes lie.
    Percent(u8),
}

impl Default for TrashPolicy {
    fn default() -> Self {
        Self {
            grace: DAY,
            limit: TrashLimit::Percent(DEFAULT_LIMIT),
        }
    }
}

/// A volume in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    pub id: VolumeId,
    /// What it was called.
    pub name: String,
    pub driver: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub anonymous: bool,
    /// RFC 3339.
    pub trashed_at: String,
    /// RFC 3339; the size limit may end it earlier.
    pub expires_at: String,
    /// `rm`, `prune`, `container` or `moved`.
    pub reason: String,
    pub bytes: Option<u64>,
}

impl From<TrashRow> for Trashed {
    fn from(row: TrashRow) -> Self {
        Self {
            id: row.volume.id,
            name: row.volume.name,
            driver: row.volume.driver,
            labels: row.volume.labels,
            anonymous: row.volume.anonymous,
            trashed_at: row.trashed_at,
            expires_at: row.expires_at,
            reason: row.reason,
            bytes: row.bytes,
        }
    }
}

/// What was deleted for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emptied {
    pub names: Vec<String>,
    pub bytes: u64,
}

impl Volumes {
    /// The policy in force.
    ///
    /// # Errors
    /// [`VolumeError::Store`]; a stored policy that cannot be read is one.
    pub fn trash_policy(&self) -> Result<TrashPolicy, VolumeError> {
        let Some(text) = self.store.read(|tx| tx.meta(KEY))? else {
            return Ok(TrashPolicy::default());
        };
        serde_json::from_str(&text).map_err(|_| {
            VolumeError::Store(store::StoreError::Unreadable {
                table: "meta",
                id: KEY.to_owned(),
                column: "value",
            })
        })
    }

    /// Sets the policy for removals from now on; what is in the trash keeps its time, and feels a new limit at once.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn set_trash_policy(&self, policy: TrashPolicy) -> Result<(), VolumeError> {
        let text = serde_json::to_string(&policy).expect("numbers serialise");
        self.store.write(|tx| tx.set_meta(KEY, &text))?;
        self.bell.ring();
        Ok(())
    }

    /// What is in the trash, what was put there first first.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn trash(&self) -> Result<Vec<Trashed>, VolumeError> {
        let rows = self.store.read(|tx| tx.trash())?;
        Ok(rows.into_iter().map(Trashed::from).collect())
    }

    /// Deletes one volume of the trash, or all of it, for good.
    ///
    /// # Errors
    /// [`VolumeError::NotInTrash`]; of several, the first that resists ends it.
    pub fn empty_trash(&self, only: Option<&str>) -> Result<Emptied, VolumeError> {
        let rows = match only {
            Some(reference) => vec![self.find_trashed(reference)?],
            None => self.store.read(|tx| tx.trash())?,
        };
        let mut emptied = Emptied::default();
        for row in rows {
            let bytes = row.bytes.or_else(|| self.size_of(&row.volume.id));
            match self.purge(&row) {
                Ok(()) => {
                    emptied.bytes += bytes.unwrap_or(0);
                    emptied.names.push(row.volume.name);
                }
                // Somebody was faster, or has it back.
                Err(VolumeError::NotInTrash(_)) if only.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(emptied)
    }

    /// Deletes what has expired, what is beyond the limit and what is in the way on a full filesystem; tells when to look again.
    ///
    /// # Errors
    /// [`VolumeError::Store`]. A volume that resists is logged and tried again the next time.
    pub fn tidy_trash(&self) -> Result<Option<Timestamp>, VolumeError> {
        let now = Timestamp::now();
        let mut kept = Vec::new();
        for mut row in self.store.read(|tx| tx.trash())? {
            if expiry(&row) <= now {
                self.purge_or_warn(&row);
                continue;
            }
            if row.bytes.is_none() {
                row.bytes = self.size_of(&row.volume.id);
                if let Some(bytes) = row.bytes {
                    let noted: Result<(), VolumeError> = self
                        .store
                        .write(|tx| Ok(tx.set_trashed_bytes(&row.volume.id, bytes)?));
                    if let Err(error) = noted {
                        // On a full disk what matters is what comes below.
                        tracing::warn!(volume = row.volume.name, %error, "its size in the trash was not noted");
                    }
                }
            }
            kept.push(row);
        }
        let expires = kept.iter().map(expiry).min();
        let verdict = self.judge_trash(kept, now)?;
        for (row, why) in &verdict.gone {
            if self.purge_or_warn(row) {
                let bytes = row.bytes.unwrap_or(0);
                let (volume, why) = (&row.volume.name, why.as_str());
                tracing::warn!(
                    volume,
                    bytes,
                    why,
                    "a volume left the trash before its time"
                );
                self.publish(
                    volume,
                    &row.volume.driver,
                    VolumeAction::Purge { bytes, why },
                );
            }
        }
        Ok(expires.min(verdict.look_again).or(expires))
    }

    /// Rings whenever something was put into the trash or its policy changed; there is one listener, the last one.
    pub fn on_trash(&self) -> Receiver<()> {
        self.bell.listen()
    }

    /// Whether there is anything in a volume's directory that somebody could miss.
    pub(crate) fn has_data(&self, row: &VolumeRow) -> Result<bool, VolumeError> {
        let directory = self.paths.volume(&row.id);
        let content = self.paths.volume_content(&row.id);
        let metadata = self.paths.volume_metadata(&row.id);
        let image = content.with_extension("image");
        self.expose(row, &content)?;
        let entries = |path: &std::path::Path| -> Result<Vec<std::path::PathBuf>, VolumeError> {
            match std::fs::read_dir(path) {
                Ok(entries) => entries
                    .map(|entry| Ok(entry?.path()))
                    .collect::<std::io::Result<_>>()
                    .map_err(VolumeError::io("list", path)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(VolumeError::io("list", path)(error)),
            }
        };
        let others = entries(&directory)?
            .into_iter()
            .any(|path| path != content && path != metadata && path != image);
        Ok(others || !entries(&content)?.is_empty())
    }

    /// Puts a volume into the trash; leases of `despite` end. The caller holds the name's lock and has looked for mounts.
    pub(crate) fn put_into_trash(
        &self,
        row: &VolumeRow,
        reason: &str,
        grace: u64,
        despite: &[String],
    ) -> Result<(), VolumeError> {
        let trash = Trash {
            id: row.id.clone(),
            name: row.name.clone(),
            reason: reason.to_owned(),
            grace,
            despite: despite.to_vec(),
        };
        journal::execute(&self.store, &trash, &self.context())?;
        self.publish(&row.name, &row.driver, VolumeAction::Destroy);
        self.bell.ring();
        Ok(())
    }

    /// The newest volume of that name in the trash, or the one whose id begins so.
    pub(crate) fn find_trashed(&self, reference: &str) -> Result<TrashRow, VolumeError> {
        let rows = self.store.read(|tx| tx.trash())?;
        let by_id = || {
            let mut found = rows.iter().filter(|row| {
                reference.len() >= 4 && row.volume.id.as_str().starts_with(reference)
            });
            found.next().filter(|_| found.next().is_none())
        };
        rows.iter()
            .rev()
            .find(|row| row.volume.name == reference)
            .or_else(by_id)
            .cloned()
            .ok_or_else(|| VolumeError::NotInTrash(reference.to_owned()))
    }

    fn purge(&self, row: &TrashRow) -> Result<(), VolumeError> {
        let purge = Purge {
            id: row.volume.id.clone(),
            name: row.volume.name.clone(),
        };
        journal::execute(&self.store, &purge, &self.context())
    }

    /// Whether it is gone by this.
    fn purge_or_warn(&self, row: &TrashRow) -> bool {
        match self.purge(row) {
            Ok(()) => return true,
            Err(VolumeError::NotInTrash(_)) => {}
            Err(error) => {
                tracing::warn!(volume = row.volume.name, %error, "a volume stays in the trash");
            }
        }
        false
    }

    fn size_of(&self, id: &VolumeId) -> Option<u64> {
        // What cannot be measured counts as nothing: the limit is a wish, not a promise.
        let size = sys::dir::tree_size(&self.paths.volume(id)).ok()?;
        Some(size.bytes)
    }
}

/// A time that cannot be read never comes: nothing is deleted by mistake.
fn expiry(row: &TrashRow) -> Timestamp {
    row.expires_at.parse().unwrap_or(Timestamp::MAX)
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trash {
    id: VolumeId,
    name: String,
    reason: String,
    /// Seconds.
    grace: u64,
    /// Holders whose leases end with it.
    #[serde(default)]
    despite: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Unlink,
}

impl Operation for Trash {
    const KIND: &'static str = "volume-trash";
    const STEPS: &'static [(&'static str, Step)] = &[("unlink", Step::Unlink)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        for holder in &self.despite {
            tx.delete_leases_on(&self.id, holder)?;
        }
        crate::remove::may_go(tx, &self.id, &self.name)?;
        let volume = tx
            .volume(&self.id)?
            .filter(|row| row.state == VolumeState::Ready)
            .ok_or_else(|| VolumeError::NotFound(self.name.clone()))?;
        let now = Timestamp::now();
        let grace = SignedDuration::from_secs(i64::try_from(self.grace).unwrap_or(i64::MAX));
        let row = TrashRow {
            volume,
            trashed_at: now.to_string(),
            expires_at: now.checked_add(grace).unwrap_or(Timestamp::MAX).to_string(),
            reason: self.reason.clone(),
            bytes: tx.volume_notes(&self.id)?.measured.map(|size| size.bytes),
        };
        tx.trash_volume(&row)?;
        Ok(tx.insert_volume_event(&self.id, &row.trashed_at, "trash", &self.reason)?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        link::remove(context.paths, &self.name, &self.id).map_err(VolumeError::io(
            "unlink",
            context.paths.volume_link(&self.name),
        ))?;
        crate::place::take_mounts_down(&context.paths.volume(&self.id))?;
        crate::description::write(context, &self.id)
    }

    fn record(&self, _step: Step, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn undo(&self, _step: Step, _op: &OpId, _context: &Context<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

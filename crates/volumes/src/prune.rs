//! `prune`: removes the volumes that nobody needs. First a plan, then exactly that plan.

use std::collections::{BTreeMap, HashMap};
use std::sync::TryLockError;

use store::{Measured, VolumeId};

use crate::create::ANONYMOUS_LABEL;
use crate::{Disposal, VolumeAction, VolumeError, Volumes, has_label, held};

/// Which unused volumes may go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Named ones, too; otherwise only those whose name nobody chose.
    pub all: bool,
    /// All of these, as `key` or `key=value`.
    pub labels: Vec<String>,
    /// Not all of these.
    pub without_labels: Vec<String>,
    /// Past the trash.
    pub now: bool,
}

/// A volume that a prune would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneCandidate {
    pub id: VolumeId,
    pub name: String,
    pub anonymous: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339: when a container had it last.
    pub used_at: Option<String>,
    /// JSON of who that was.
    pub used_by: Option<String>,
    /// What its files took when that was measured last.
    pub measured: Option<Measured>,
}

/// The option that says where among our own places.
const POOL: &str = "pool";

/// What a prune would do; taken by value by what does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    pub candidates: Vec<PruneCandidate>,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub names: Vec<String>,
    /// What they took.
    pub bytes: u64,
    /// What of that is in the trash, and takes it still.
    pub trashed: u64,
}

impl Volumes {
    /// Lists what [`Volumes::prune`] would remove: unused, unprotected volumes of prunable drivers, made without options
    /// (as Docker has it: their data may be somewhere else). Which of our pools a volume is in does not count.
    /// Looks at the database alone.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn plan_prune(&self, request: &PruneRequest) -> Result<PrunePlan, VolumeError> {
        let mut plan = PrunePlan::default();
        let (rows, notes) = self.store.read(|tx| {
            Ok::<_, VolumeError>((tx.volumes_without_lease()?, tx.all_volume_notes()?))
        })?;
        let mut notes: HashMap<_, _> = notes.into_iter().collect();
        let none = BTreeMap::new();
        for row in rows {
            let noted = notes.remove(&row.id).unwrap_or_default();
            let prunable = self
                .drivers
                .find(&row.driver)
                .is_some_and(|driver| driver.capabilities().prunable);
            let labels = row.labels.as_ref().unwrap_or(&none);
            let wanted = prunable
                && !noted.protected
                && row.options.iter().flatten().all(|(key, _)| key == POOL)
                && (request.all || labels.contains_key(ANONYMOUS_LABEL))
                && request.labels.iter().all(|label| has_label(labels, label))
                && (request.without_labels.is_empty()
                    || !request
                        .without_labels
                        .iter()
                        .all(|label| has_label(labels, label)));
            if wanted {
                plan.candidates.push(PruneCandidate {
                    anonymous: labels.contains_key(ANONYMOUS_LABEL),
                    id: row.id,
                    name: row.name,
                    created_at: row.created_at,
                    used_at: noted.used_at,
                    used_by: noted.used_by,
                    measured: noted.measured,
                });
            }
        }
        Ok(plan)
    }

    /// Removes what the plan of this moment lists; a volume that somebody took meanwhile stays.
    ///
    /// # Errors
    /// [`VolumeError::PruneRunning`].
    pub fn prune(&self, request: &PruneRequest) -> Result<Pruned, VolumeError> {
        self.prune_if(request, |_| Ok(()))
    }

    /// [`Volumes::prune`], unless `agree` refuses the plan.
    ///
    /// # Errors
    /// [`VolumeError::PruneRunning`], [`VolumeError::Store`]; what `agree` returns.
    pub fn prune_if<E: From<VolumeError>>(
        &self,
        request: &PruneRequest,
        agree: impl FnOnce(&PrunePlan) -> Result<(), E>,
    ) -> Result<Pruned, E> {
        let _alone = match self.pruning.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(VolumeError::PruneRunning.into()),
        };
        let disposal = if request.now {
            Disposal::Now
        } else {
            Disposal::Trash("prune")
        };
        let plan = self.plan_prune(request)?;
        agree(&plan)?;
        let mut pruned = Pruned::default();
        for PruneCandidate { id, name, .. } in plan.candidates {
            let bytes = self.usage(&name).unwrap_or(0);
            let lock = self.name_lock(&name);
            let _held = held(&lock);
            // A name may have been given to another volume since the plan was made.
            let removed = match self.row(&name) {
                Ok(row) if row.id == id => self.remove_row(&row, disposal),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => {
                    pruned.names.push(name);
                    pruned.bytes += bytes;
                    let trashed = self.store.read(|tx| tx.trashed(&id));
                    if trashed.map_err(VolumeError::from)?.is_some() {
                        pruned.trashed += bytes;
                    }
                }
                Err(
                    VolumeError::InUse { .. }
                    | VolumeError::Protected(_)
                    | VolumeError::NotFound(_)
                    | VolumeError::ActiveMounts(_),
                ) => {}
                // One that cannot be removed must not keep the others, nor hide what has been removed already.
                Err(error) => tracing::warn!(volume = name, %error, "volume stays"),
            }
        }
        self.publish(
            "",
            "",
            VolumeAction::Prune {
                reclaimed: pruned.bytes,
            },
        );
        Ok(pruned)
    }
}

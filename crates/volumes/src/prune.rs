//! `prune`: removes the volumes that nobody needs. First a plan, then exactly that plan.

use std::collections::BTreeMap;
use std::sync::TryLockError;

use store::VolumeId;

use crate::create::ANONYMOUS_LABEL;
use crate::{VolumeAction, VolumeError, Volumes, held};

/// Which unused volumes may go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Named ones, too; otherwise only those whose name nobody chose.
    pub all: bool,
    /// All of these, as `key` or `key=value`.
    pub labels: Vec<String>,
    /// Not all of these.
    pub without_labels: Vec<String>,
}

/// A volume that a prune would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneCandidate {
    pub id: VolumeId,
    pub name: String,
    /// What its files take.
    pub bytes: u64,
}

/// What a prune would do; taken by value by what does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    pub candidates: Vec<PruneCandidate>,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub names: Vec<String>,
    pub bytes: u64,
}

impl Volumes {
    /// Lists what [`Volumes::prune`] would remove: unused volumes of prunable drivers, made without options.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn plan_prune(&self, request: &PruneRequest) -> Result<PrunePlan, VolumeError> {
        let mut plan = PrunePlan::default();
        for row in self.store.read(|tx| tx.volumes_without_lease())? {
            let prunable = self
                .drivers
                .find(&row.driver)
                .is_some_and(|driver| driver.capabilities().prunable);
            let labels = row.labels.clone().unwrap_or_default();
            let wanted = prunable
                && row.options.as_ref().is_none_or(BTreeMap::is_empty)
                && (request.all || labels.contains_key(ANONYMOUS_LABEL))
                && request.labels.iter().all(|label| has(&labels, label))
                && (request.without_labels.is_empty()
                    || !request
                        .without_labels
                        .iter()
                        .all(|label| has(&labels, label)));
            if wanted {
                let bytes = self.usage(&row.name).unwrap_or(0);
                plan.candidates.push(PruneCandidate {
                    id: row.id,
                    name: row.name,
                    bytes,
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
        let _alone = match self.pruning.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(VolumeError::PruneRunning),
        };
        let mut pruned = Pruned::default();
        for PruneCandidate { id, name, bytes } in self.plan_prune(request)?.candidates {
            let lock = self.name_lock(&name);
            let _held = held(&lock);
            // A name may have been given to another volume since the plan was made.
            let removed = match self.row(&name) {
                Ok(row) if row.id == id => self.remove_row(&row),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => {
                    pruned.names.push(name);
                    pruned.bytes += bytes;
                }
                Err(
                    VolumeError::InUse { .. }
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

fn has(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
        None => labels.contains_key(wanted),
    }
}

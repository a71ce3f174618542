//! A prune that was shown first: the token of what was shown makes sure that nothing else is removed.

use sha2::{Digest as _, Sha256};
use volumes::{PrunePlan, PruneRequest, Pruned, VolumeError};

use super::LastUse;
use super::users::last_use;
use crate::containers::ContainerError;
use crate::engine::Engine;

/// What a prune would remove now.
#[derive(Debug, Clone)]
pub struct PlannedPrune {
    pub plan: PrunePlan,
    /// Stands for exactly these volumes.
    pub token: String,
}

impl PlannedPrune {
    /// Who had the candidates last, in their order.
    pub fn last_uses(&self) -> Vec<Option<LastUse>> {
        self.plan
            .candidates
            .iter()
            .map(|one| last_use(one.used_by.as_deref(), one.used_at.clone()))
            .collect()
    }
}

impl Engine {
    /// What a prune would remove now, from the database alone: sizes are those that were measured last.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn plan_volume_prune(&self, request: &PruneRequest) -> Result<PlannedPrune, VolumeError> {
        let plan = self.volumes.plan_prune(request)?;
        Ok(PlannedPrune {
            token: token(&plan),
            plan,
        })
    }

    /// Prunes; with a token only if exactly the volumes would go for which the token stands.
    ///
    /// # Errors
    /// [`ContainerError::Conflict`] when others would go; [`VolumeError::PruneRunning`].
    pub fn prune_volumes(
        &self,
        request: &PruneRequest,
        exactly: Option<&str>,
    ) -> Result<Pruned, ContainerError> {
        self.volumes.prune_if(request, |plan| {
            if exactly.is_none_or(|wanted| wanted == token(plan)) {
                return Ok(());
            }
            Err(ContainerError::Conflict(
                "what would be removed is no longer what was shown: look at it again".to_owned(),
            ))
        })
    }
}

/// Ids are never used twice, so that a volume made anew under an old name is another one.
fn token(plan: &PrunePlan) -> String {
    let mut ids: Vec<&str> = plan.candidates.iter().map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    let digest = Sha256::digest(ids.join("\n").as_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

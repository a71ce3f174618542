//! `rm`: a network that nobody is connected to goes.
//!
//! Steps of the journaled operation, which is committed once it has begun:
//! 1. begin: row `removing`, the name is free
//! 2. `bridge`: the device and the firewall's rules go, and what neighbours are called; then the row
//!
//! Containers that do not run and were to be on it say at their start that it is not there.

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{NetworkState, OpId, WriteTx};

use super::{Context, Networks, is_predefined, plan};
use crate::network::NetworkError;
use crate::network::segment::Plan;

impl Networks {
    /// # Errors
    /// [`NetworkError::NotFound`], [`NetworkError::CannotRemove`], [`NetworkError::ActiveEndpoints`].
    pub fn remove(&self, reference: &str) -> Result<(), NetworkError> {
        let found = self.find(reference)?;
        if is_predefined(&found.name) {
            return Err(NetworkError::CannotRemove(found.name));
        }
        let rows = self.rows()?;
        let row = rows
            .iter()
            .find(|row| row.id == found.id)
            .ok_or_else(|| NetworkError::NotFound(reference.to_owned()))?;
        let plan = plan(row)?;
        self.host.retire(&found.id, &found.name)?;
        let remove = Remove {
            id: found.id.clone(),
            name: found.name.clone(),
            plan: plan.clone(),
        };
        let removed = journal::execute(&self.store, &remove, &self.context());
        // What never began left the network as it was.
        let still = self.rows()?.iter().any(|row| row.id == found.id);
        if removed.is_err() && still {
            self.host.raise(&found.id, &plan, false)?;
        }
        removed?;
        self.publish(&found.id, &found.name, "bridge", "destroy", "");
        Ok(())
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Remove {
    id: String,
    name: String,
    plan: Plan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Bridge,
}

impl Operation for Remove {
    const KIND: &'static str = "network-remove";
    const STEPS: &'static [(&'static str, Step)] = &[("bridge", Step::Bridge)];
    const COMMIT: Option<Step> = None;
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = NetworkError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        Ok(tx.set_network_state(&self.id, NetworkState::Removing)?)
    }

    fn run(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), NetworkError> {
        context.host.lower(&self.id, &self.plan)?;
        let names = context.paths.network_names(&self.id);
        match sys::dir::remove_tree(&names) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(NetworkError::Device {
                    action: format!("remove {}", names.display()),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        Ok(tx.delete_network(&self.id)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, _context: &Context<'_>) -> Result<(), NetworkError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), NetworkError> {
        unreachable!("an operation that is committed once it has begun is never undone")
    }
}

//! `prune`: networks of users that nobody is connected to, if they pass the filters.

use std::sync::TryLockError;

use super::Networks;
use crate::containers::list::Filters;
use crate::network::NetworkError;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub names: Vec<String>,
}

impl Networks {
    /// `filters`: `until`, `label`, `label!`. Networks of containers that do not run count as unused, as with Docker.
    ///
    /// # Errors
    /// [`NetworkError::Request`] for another filter; [`NetworkError::PruneRunning`].
    pub fn prune(&self, filters: &Filters) -> Result<Pruned, NetworkError> {
        let _one = match self.pruning.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(NetworkError::PruneRunning),
        };
        let unknown = filters
            .0
            .keys()
            .find(|key| !matches!(key.as_str(), "until" | "label" | "label!"));
        if let Some(unknown) = unknown {
            return Err(NetworkError::Request(format!("invalid filter '{unknown}'")));
        }
        let until = filters
            .until()
            .map_err(|error| NetworkError::Request(error.to_string()))?;
        let mut pruned = Pruned::default();
        for network in self.list()? {
            let made = network.created.parse::<jiff::Timestamp>();
            let old = until.is_none_or(|until| made.is_ok_and(|made| made < until));
            if network.predefined || !old || !filters.labels_match(&network.labels) {
                continue;
            }
            match self.remove(&network.id) {
                Ok(()) => pruned.names.push(network.name),
                // Used, or removed since it was listed.
                Err(NetworkError::ActiveEndpoints { .. } | NetworkError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }
}

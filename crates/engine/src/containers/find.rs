//! From what a user typed (id, unique prefix, name) to a container's row.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use serde::de::DeserializeOwned;
use store::ContainerRow;

use super::live::{Live, Lives};
use super::{Config, ContainerError, Containers, HostConfig, Status};

impl Containers {
    /// Full id first, then name, then unique prefix, as Docker does. Rows still being created are not found.
    pub(crate) fn find(&self, reference: &str) -> Result<ContainerRow, ContainerError> {
        let name = reference.strip_prefix('/').unwrap_or(reference);
        let no_such = || ContainerError::NoSuch(name.to_owned());
        if name.is_empty() {
            return Err(no_such());
        }
        self.store
            .read(|tx| {
                if let Some(row) = tx.container(name)? {
                    return Ok(row);
                }
                if let Some(row) = tx.container_by_name(name)? {
                    return Ok(row);
                }
                let ids = if name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    tx.container_ids_by_prefix(name)?
                } else {
                    Vec::new()
                };
                match ids.as_slice() {
                    [] => Err(no_such()),
                    [id] => tx.container(id)?.ok_or_else(no_such),
                    _ => Err(ContainerError::Ambiguous(name.to_owned())),
                }
            })
            .and_then(|row| {
                if row.status == Status::Creating.as_str() {
                    Err(no_such())
                } else {
                    Ok(row)
                }
            })
    }

    /// The in-memory side of a container, made on first use.
    pub(crate) fn live(&self, id: &str) -> Arc<Live> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(live.entry(id.to_owned()).or_default())
    }

    /// Those of several containers.
    pub(crate) fn lives<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Lives {
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        Lives::new(ids.into_iter().map(|id| self.live(id)))
    }

    pub(crate) fn forget(&self, id: &str) {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// The parsed columns of a row. Rows that do not parse are an error, never skipped.
pub(crate) trait Columns {
    fn status(&self) -> Result<Status, ContainerError>;
    fn config(&self) -> Result<Config, ContainerError>;
    fn host_config(&self) -> Result<HostConfig, ContainerError>;
    fn network(&self) -> Result<super::NetworkSettings, ContainerError>;
}

pub(super) fn unreadable(id: &str, column: &str) -> ContainerError {
    ContainerError::Io {
        action: format!("stored {column} of container {id} cannot be read"),
        source: std::io::ErrorKind::InvalidData.into(),
    }
}

/// A column that holds JSON.
pub(super) fn column<T: DeserializeOwned>(
    id: &str,
    column: &str,
    text: &str,
) -> Result<T, ContainerError> {
    serde_json::from_str(text).map_err(|_| unreadable(id, column))
}

impl Columns for ContainerRow {
    fn status(&self) -> Result<Status, ContainerError> {
        Status::parse(&self.status).ok_or_else(|| unreadable(&self.id, "status"))
    }

    fn config(&self) -> Result<Config, ContainerError> {
        column(&self.id, "configuration", &self.config)
    }

    fn host_config(&self) -> Result<HostConfig, ContainerError> {
        column(&self.id, "host configuration", &self.host_config)
    }

    fn network(&self) -> Result<super::NetworkSettings, ContainerError> {
        match &self.network {
            Some(text) => column(&self.id, "network", text),
            None => Ok(super::NetworkSettings::default()),
        }
    }
}

//! `rename`.

use std::sync::PoisonError;

use super::find::Columns as _;
use super::{ContainerError, Containers};

impl Containers {
    pub fn rename(&self, reference: &str, name: &str) -> Result<(), ContainerError> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(ContainerError::Invalid(
                "Neither old nor new names may be empty".to_owned(),
            ));
        }
        store::names::check_container_name(name)
            .map_err(|error| ContainerError::Invalid(error.to_string()))?;
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        if row.name == name {
            return Err(ContainerError::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let old = row.name.clone();
        let row = self.store.write(|tx| {
            if let Some(holder) = tx.container_by_name(name)? {
                return Err(ContainerError::NameInUse {
                    name: name.to_owned(),
                    holder: holder.id,
                });
            }
            let mut row = tx
                .container(&id)?
                .ok_or_else(|| ContainerError::NoSuch(id.clone()))?;
            name.clone_into(&mut row.name);
            tx.update_container(&row)?;
            Ok(row)
        })?;
        self.publish(&row, "rename", &[("oldName", &format!("/{old}"))]);
        if row.status()?.is_active() {
            self.network.rename(&row.id, &row.name);
            self.rewrite_names(&row)?;
            self.refresh_hosts();
        }
        Ok(())
    }
}

//! `label`: adds, changes and takes away labels of a volume that exists.

use std::collections::BTreeMap;

use jiff::Timestamp;
use store::VolumeState;

use crate::{Volume, VolumeError, Volumes, held};

impl Volumes {
    /// Sets labels, then takes away others; a label to be taken away that is not there is no error.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn label(
        &self,
        name: &str,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<Volume, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.store.write(|tx| {
            let mut row = tx
                .volume_by_name(name)?
                .filter(|row| row.state == VolumeState::Ready)
                .ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
            let mut labels = row.labels.take().unwrap_or_default();
            labels.extend(set.clone());
            for key in remove {
                labels.remove(key);
            }
            row.labels = (!labels.is_empty()).then_some(labels);
            tx.set_volume_labels(&row.id, row.labels.as_ref())?;
            let detail: Vec<String> = set
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .chain(remove.iter().map(|key| format!("{key}-")))
                .collect();
            let now = Timestamp::now().to_string();
            tx.insert_volume_event(&row.id, &now, "label", &detail.join(" "))?;
            Ok::<_, VolumeError>(row)
        })?;
        self.describe(&row.id);
        Ok(self.shown(row))
    }
}

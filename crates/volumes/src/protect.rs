//! `protect` and `unprotect`: a protected volume is neither removed nor pruned, by whomever.

use jiff::Timestamp;
use store::VolumeState;

use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Protects a volume, or ends that; either twice is once.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn protect(&self, name: &str, protected: bool) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let (id, changed) = self.store.write(|tx| {
            let row = tx
                .volume_by_name(name)?
                .filter(|row| row.state == VolumeState::Ready)
                .ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
            let changed = tx.volume_notes(&row.id)?.protected != protected;
            if changed {
                tx.set_volume_protected(&row.id, protected)?;
                let action = if protected { "protect" } else { "unprotect" };
                tx.insert_volume_event(&row.id, &Timestamp::now().to_string(), action, "")?;
            }
            Ok::<_, VolumeError>((row.id, changed))
        })?;
        if changed {
            self.describe(&id);
        }
        Ok(())
    }
}

//! Leases: who needs a volume.
//!
//! A lease and a removal of the same volume exclude each other in one transaction: whichever commits first wins.

use crate::{VolumeError, Volumes};

/// A lease that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Name of the volume.
    pub name: String,
    /// The holder had it as an anonymous volume.
    pub anonymous: bool,
}

impl Volumes {
    /// Notes that `holder` needs the volume at `destination`. Taken twice it is one lease.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn lease(&self, name: &str, holder: &str, destination: &str, anonymous: bool) -> Result<(), VolumeError> {
        self.store.write(|tx| {
            let row = tx
                .volume_by_name(name)?
                .filter(|row| row.state == store::VolumeState::Ready)
                .ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
            Ok(tx.insert_lease(&row.id, holder, destination, anonymous)?)
        })
    }

    /// Ends every lease of `holder` and tells which there were.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn release(&self, holder: &str) -> Result<Vec<Released>, VolumeError> {
        self.store.write(|tx| {
            let leases = tx.leases_of(holder)?;
            tx.delete_leases_of(holder)?;
            Ok(leases
                .into_iter()
                .map(|lease| Released { name: lease.volume_name, anonymous: lease.anonymous })
                .collect())
        })
    }

    /// Who holds the volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn holders(&self, name: &str) -> Result<Vec<String>, VolumeError> {
        let row = self.row(name)?;
        Ok(self.store.read(|tx| tx.lease_holders(&row.id))?)
    }
}

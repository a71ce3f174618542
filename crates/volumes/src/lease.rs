//! Leases: who needs a volume.
//!
//! A lease and a removal of the same volume exclude each other in one transaction: whichever commits first wins.

use store::{VolumeId, VolumeState, WriteTx};

use crate::{Volume, VolumeError, Volumes};

/// A lease that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Name of the volume.
    pub name: String,
    /// Where the holder had it.
    pub destination: String,
    /// The holder had it as an anonymous volume.
    pub anonymous: bool,
}

impl Volumes {
    /// Notes that `holder` needs the volume at `destination`. Taken twice it is one lease.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn lease(
        &self,
        name: &str,
        holder: &str,
        destination: &str,
        anonymous: bool,
    ) -> Result<(), VolumeError> {
        self.store.write(|tx| {
            let row = tx
                .volume_by_name(name)?
                .filter(|row| row.state == VolumeState::Ready)
                .ok_or_else(|| VolumeError::NotFound(name.to_owned()))?;
            Ok(tx.insert_lease(&row.id, holder, destination, anonymous)?)
        })
    }

    /// [`Volumes::lease`] for all of several volumes that were looked at before, whatever they are called by now; those that
    /// are still there, as they are now, in the same order.
    ///
    /// # Errors
    /// [`VolumeError::Store`].
    pub fn lease_those_there(
        &self,
        volumes: &[&Volume],
        holder: &str,
        destination: &str,
    ) -> Result<Vec<Volume>, VolumeError> {
        let rows = self.store.write(|tx| {
            let mut rows = Vec::with_capacity(volumes.len());
            for volume in volumes {
                let row = match &volume.id {
                    Some(id) => tx.volume(id)?,
                    None => tx.volume_by_name(&volume.name)?,
                };
                let Some(row) = row.filter(|row| row.state == VolumeState::Ready) else {
                    continue;
                };
                tx.insert_lease(&row.id, holder, destination, false)?;
                rows.push(row);
            }
            Ok::<_, VolumeError>(rows)
        })?;
        Ok(rows.into_iter().map(|row| self.shown(row)).collect())
    }

    /// Ends every lease of `holder`, and every use of a mount that it did not give back; tells which leases there were.
    ///
    /// # Errors
    /// [`VolumeError::Store`]; a mount that cannot be taken down is logged, and tried again at the next start.
    pub fn release(&self, holder: &str) -> Result<Vec<Released>, VolumeError> {
        let (leases, mounted) = self.store.write(|tx| {
            let leases = tx.leases_of(holder)?;
            tx.delete_leases_of(holder)?;
            Ok::<_, VolumeError>((leases, forget_mounts(tx, holder)?))
        })?;
        self.take_down_or_warn(holder, &mounted);
        self.release_elsewhere(holder)?;
        Ok(leases
            .into_iter()
            .map(|lease| Released {
                name: lease.volume_name,
                destination: lease.destination,
                anonymous: lease.anonymous,
            })
            .collect())
    }

    /// Ends every use of a mount that `holder` did not give back; its leases stay.
    ///
    /// # Errors
    /// As [`Volumes::release`].
    pub fn abandon_mounts(&self, holder: &str) -> Result<(), VolumeError> {
        self.release_elsewhere(holder)?;
        if self.store.read(|tx| tx.mount_counts_of(holder))?.is_empty() {
            return Ok(());
        }
        let mounted = self.store.write(|tx| forget_mounts(tx, holder))?;
        self.take_down_or_warn(holder, &mounted);
        Ok(())
    }

    fn take_down_or_warn(&self, holder: &str, mounted: &[VolumeId]) {
        if let Err(error) = self.take_down_unused(mounted) {
            tracing::warn!(holder, %error, "a volume stays mounted");
        }
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

/// The volumes whose mounts `holder` used.
fn forget_mounts(tx: &WriteTx<'_>, holder: &str) -> Result<Vec<VolumeId>, VolumeError> {
    let counts = tx.mount_counts_of(holder)?;
    let mounted: Vec<_> = counts.into_iter().map(|count| count.volume).collect();
    for volume in &mounted {
        tx.drop_mounts_of(volume, holder)?;
    }
    Ok(mounted)
}

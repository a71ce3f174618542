//! Volumes that go to another engine: what travels with them, their bytes for reading, and letting go.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use store::VolumeId;

use crate::arrive::{Happened, Luggage};
use crate::driver::Sharing;
use crate::mount::EXPORT;
use crate::{SnapshotError, VolumeError, Volumes, held};

/// A volume that was moved stays in the trash for this long at least, whatever the policy. Seconds.
const GRACE: u64 = 24 * 60 * 60;

impl Volumes {
    /// What travels with a volume, or with a snapshot of it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; [`SnapshotError::NotFound`].
    pub fn luggage(&self, name: &str, snapshot: Option<&str>) -> Result<Luggage, SnapshotError> {
        let row = self.row(name)?;
        let origin = match snapshot {
            None => row.id.to_string(),
            Some(snapshot) => format!("{}@{}", row.id, self.snapshot(name, snapshot)?.id),
        };
        let (notes, history) = self.store.read(|tx| {
            Ok::<_, VolumeError>((tx.volume_notes(&row.id)?, tx.volume_events(&row.id)?))
        })?;
        Ok(Luggage {
            origin,
            passport: self.passport(&row)?,
            protected: notes.protected,
            history: history
                .into_iter()
                .map(|event| Happened {
                    at: event.at,
                    action: event.action,
                    detail: event.detail,
                })
                .collect(),
            moving: false,
        })
    }

    /// What a snapshot of the volume costs; `None` when it cannot have one.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; what the disk says.
    pub fn sharing(&self, name: &str) -> Result<Option<Sharing>, SnapshotError> {
        let row = self.row(name)?;
        match self.sharing_of(&row) {
            Ok(sharing) => Ok(Some(sharing)),
            Err(SnapshotError::Elsewhere(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the bytes of a snapshot are, ready to be read.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`]; those of making it readable.
    pub fn readable_snapshot(&self, name: &str, snapshot: &str) -> Result<PathBuf, SnapshotError> {
        let row = self.row(name)?;
        let id = self.snapshot(name, snapshot)?.id;
        Ok(self.snapshot_tree(&row.id, &id)?)
    }

    /// Calls `read` with the directory of the volume's bytes, which is there for as long as it takes.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], and those of mounting the volume.
    pub fn while_readable<T>(
        &self,
        name: &str,
        read: impl FnOnce(BorrowedFd<'_>) -> T,
    ) -> Result<T, VolumeError> {
        let lock = self.name_lock(name);
        let row = {
            let _held = held(&lock);
            let row = self.row(name)?;
            self.attach(&row, EXPORT)?;
            row
        };
        // Not under the lock: a slow reader must not keep containers from starting.
        let result = self.open_content(&row).map(|content| read(content.as_fd()));
        let _held = held(&lock);
        let detached = self.detach(&row, EXPORT);
        let result = result?;
        detached.map(|()| result)
    }

    /// Whether a volume could be let go if nobody held it.
    ///
    /// # Errors
    /// [`VolumeError::Protected`], [`VolumeError::Elsewhere`].
    pub fn may_depart(&self, name: &str) -> Result<(), VolumeError> {
        let row = self.row(name)?;
        self.must_be_here(&row.name, &row.driver, "moved")?;
        if self.store.read(|tx| tx.volume_notes(&row.id))?.protected {
            return Err(VolumeError::Protected(row.name));
        }
        Ok(())
    }

    /// Puts a volume that is elsewhere now into the trash. `holders` do without it: their leases end, others' forbid it.
    /// `origin` is what its luggage said.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`] when it is another volume by now; [`VolumeError::InUse`], [`VolumeError::ActiveMounts`],
    /// [`VolumeError::Protected`].
    pub fn let_go(&self, name: &str, origin: &str, holders: &[String]) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        if VolumeId::parse(origin).as_ref() != Some(&row.id) {
            return Err(VolumeError::NotFound(name.to_owned()));
        }
        let grace = self.trash_policy()?.grace.max(GRACE);
        self.put_into_trash(&row, "moved", grace, holders)
    }
}

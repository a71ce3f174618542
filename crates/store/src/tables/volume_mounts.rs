//! Who uses the mount of a volume that its driver has to mount; the last one takes it down.

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// How often one holder has a volume mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountCount {
    pub volume: VolumeId,
    pub holder: String,
    pub count: u32,
}

fn read(row: &rusqlite::Row<'_>) -> Result<MountCount, ReadError> {
    let id: String = row.get(0)?;
    Ok(MountCount {
        volume: VolumeId::parse(&id).ok_or(ReadError::Unreadable {
            table: "volume_mounts",
            id,
            column: "volume_id",
        })?,
        holder: row.get(1)?,
        count: row.get(2)?,
    })
}

impl Tx<'_> {
    /// Mounts of every volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mount_counts(&self) -> Result<Vec<MountCount>, StoreError> {
        self.rows(
            "list mounts",
            "SELECT volume_id, holder, count FROM volume_mounts ORDER BY volume_id, holder",
            [],
            read,
        )
    }

    /// Mounts of one holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mount_counts_of(&self, holder: &str) -> Result<Vec<MountCount>, StoreError> {
        self.rows(
            "list mounts",
            "SELECT volume_id, holder, count FROM volume_mounts WHERE holder = ?1 ORDER BY volume_id",
            [holder],
            read,
        )
    }

    /// How many uses a volume's mount has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mount_uses(&self, volume: &VolumeId) -> Result<u32, StoreError> {
        Ok(self
            .one(
                "count mounts",
                "SELECT COALESCE(SUM(count), 0) FROM volume_mounts WHERE volume_id = ?1",
                [volume.as_str()],
                |row| Ok(row.get(0)?),
            )?
            .unwrap_or(0))
    }
}

impl WriteTx<'_> {
    /// Counts one more use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_mount(&self, volume: &VolumeId, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "record a mount",
            "INSERT INTO volume_mounts (volume_id, holder, count) VALUES (?1, ?2, 1)
             ON CONFLICT DO UPDATE SET count = count + 1",
            [volume.as_str(), holder],
        )?;
        Ok(())
    }

    /// Counts one use less; none of this holder's left is fine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn drop_mount(&self, volume: &VolumeId, holder: &str) -> Result<(), StoreError> {
        let last = self.execute(
            "forget a mount",
            "DELETE FROM volume_mounts WHERE volume_id = ?1 AND holder = ?2 AND count = 1",
            [volume.as_str(), holder],
        )?;
        if last == 0 {
            self.execute(
                "forget a mount",
                "UPDATE volume_mounts SET count = count - 1 WHERE volume_id = ?1 AND holder = ?2",
                [volume.as_str(), holder],
            )?;
        }
        Ok(())
    }

    /// Counts anew how often one holder has a volume mounted; 0 forgets it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_mounts(
        &self,
        volume: &VolumeId,
        holder: &str,
        count: u32,
    ) -> Result<(), StoreError> {
        self.drop_mounts_of(volume, holder)?;
        for _ in 0..count {
            self.add_mount(volume, holder)?;
        }
        Ok(())
    }

    /// Forgets all uses that one holder has of a volume's mount.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn drop_mounts_of(&self, volume: &VolumeId, holder: &str) -> Result<(), StoreError> {
        self.execute(
            "forget mounts",
            "DELETE FROM volume_mounts WHERE volume_id = ?1 AND holder = ?2",
            [volume.as_str(), holder],
        )?;
        Ok(())
    }

    /// Forgets all uses of a volume's mount.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn clear_mounts(&self, volume: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "forget mounts",
            "DELETE FROM volume_mounts WHERE volume_id = ?1",
            [volume.as_str()],
        )?;
        Ok(())
    }
}

//! What is known of a volume beside what it is: protection, who made it, who used it last, what it took when measured.
//!
//! A volume has a row from the first thing that is noted of it, and keeps it in the trash.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// One volume's notes; times are RFC 3339, `created_by` and `used_by` JSON that only their writer understands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeNotes {
    pub protected: bool,
    pub created_by: Option<String>,
    pub used_at: Option<String>,
    pub used_by: Option<String>,
    pub measured: Option<Measured>,
    /// JSON as well: the image's directory that filled the volume.
    pub seeded_by: Option<String>,
}

/// What a volume took when it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub bytes: u64,
    pub files: u64,
    /// RFC 3339.
    pub at: String,
}

const COLUMNS: &str =
    "protected, created_by, used_at, used_by, bytes, files, measured_at, seeded_by";

fn read(row: &Row<'_>) -> Result<VolumeNotes, ReadError> {
    let (bytes, files): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
    // No size of a tree is negative, nor were these when they were written.
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let at: Option<String> = row.get(6)?;
    Ok(VolumeNotes {
        protected: row.get(0)?,
        created_by: row.get(1)?,
        used_at: row.get(2)?,
        used_by: row.get(3)?,
        measured: at.map(|at| Measured {
            bytes: count(bytes).unwrap_or_default(),
            files: count(files).unwrap_or_default(),
            at,
        }),
        seeded_by: row.get(7)?,
    })
}

impl Tx<'_> {
    /// What is noted of a volume; nothing is noted of one without a row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_notes(&self, id: &VolumeId) -> Result<VolumeNotes, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volume_notes WHERE volume_id = ?1");
        let found = self.one("read a volume's notes", &sql, [id.as_str()], read)?;
        Ok(found.unwrap_or_default())
    }

    /// What is noted of every volume, by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all_volume_notes(&self) -> Result<Vec<(VolumeId, VolumeNotes)>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, volume_id FROM volume_notes ORDER BY volume_id");
        self.rows("list the notes of volumes", &sql, [], |row| {
            let id: String = row.get(8)?;
            let parsed = VolumeId::parse(&id).ok_or(ReadError::Unreadable {
                table: "volume_notes",
                id,
                column: "volume_id",
            })?;
            Ok((parsed, read(row)?))
        })
    }
}

impl WriteTx<'_> {
    /// Protects a volume, or no longer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_protected(&self, id: &VolumeId, protected: bool) -> Result<(), StoreError> {
        self.execute(
            "protect a volume",
            "INSERT INTO volume_notes (volume_id, protected) VALUES (?1, ?2)
             ON CONFLICT (volume_id) DO UPDATE SET protected = excluded.protected",
            params![id.as_str(), protected],
        )?;
        Ok(())
    }

    /// Notes whom a volume was made for, once: a later call changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_creator(&self, id: &VolumeId, creator: &str) -> Result<(), StoreError> {
        self.execute(
            "note who made a volume",
            "INSERT INTO volume_notes (volume_id, created_by) VALUES (?1, ?2)
             ON CONFLICT (volume_id) DO UPDATE SET created_by = coalesce(created_by, excluded.created_by)",
            [id.as_str(), creator],
        )?;
        Ok(())
    }

    /// Notes who uses a volume from `at` on, or did until then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_used(&self, id: &VolumeId, by: &str, at: &str) -> Result<(), StoreError> {
        self.execute(
            "note who uses a volume",
            "INSERT INTO volume_notes (volume_id, used_by, used_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (volume_id) DO UPDATE SET used_by = excluded.used_by, used_at = excluded.used_at",
            [id.as_str(), by, at],
        )?;
        Ok(())
    }

    /// Notes what filled a volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_seeded(&self, id: &VolumeId, by: &str) -> Result<(), StoreError> {
        self.execute(
            "note what filled a volume",
            "INSERT INTO volume_notes (volume_id, seeded_by) VALUES (?1, ?2)
             ON CONFLICT (volume_id) DO UPDATE SET seeded_by = excluded.seeded_by",
            [id.as_str(), by],
        )?;
        Ok(())
    }

    /// Notes what a volume takes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_measured(
        &self,
        id: &VolumeId,
        measured: &Measured,
    ) -> Result<(), StoreError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.execute(
            "note the size of a volume",
            "INSERT INTO volume_notes (volume_id, bytes, files, measured_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (volume_id) DO UPDATE SET
             bytes = excluded.bytes, files = excluded.files, measured_at = excluded.measured_at",
            params![
                id.as_str(),
                number(measured.bytes),
                number(measured.files),
                measured.at
            ],
        )?;
        Ok(())
    }

    /// Forgets everything that is noted of a volume, its history and its snapshots included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_volume_notes(&self, id: &VolumeId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM volume_notes WHERE volume_id = ?1",
            "DELETE FROM volume_events WHERE volume_id = ?1",
            "DELETE FROM volume_storage WHERE volume_id = ?1",
            "DELETE FROM volume_backups WHERE volume_id = ?1",
        ] {
            self.execute("forget a volume's notes", sql, [id.as_str()])?;
        }
        self.forget_snapshots_of(id)
    }
}

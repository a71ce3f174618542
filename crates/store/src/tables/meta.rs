//! Single values of one state directory.

use crate::db::{Tx, WriteTx};
use crate::error::StoreError;

impl Tx<'_> {
    /// The value stored under `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.one(
            "read a setting",
            "SELECT value FROM meta WHERE key = ?1",
            [key],
            |row| Ok(row.get(0)?),
        )
    }

    /// Keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn meta_with_prefix(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "list settings",
            "SELECT key FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
            [prefix],
            |row| Ok(row.get(0)?),
        )
    }
}

impl WriteTx<'_> {
    /// Stores `value` under `key`, replacing an earlier one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.execute(
            "store a setting",
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )?;
        Ok(())
    }

    /// Forgets a setting; one that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_meta(&self, key: &str) -> Result<(), StoreError> {
        self.execute("forget a setting", "DELETE FROM meta WHERE key = ?1", [key])?;
        Ok(())
    }
}

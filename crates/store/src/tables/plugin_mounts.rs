//! Mounts of volumes that plugins keep: what each plugin was told, and is still to be told.

use rusqlite::params;

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::VolumeId;

/// One mount that a plugin was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginMountRow {
    /// What the plugin knows it by.
    pub mount_id: String,
    pub volume: VolumeId,
    pub holder: String,
    /// 0: the plugin is still to be told that it is over.
    pub uses: u32,
    /// `None`: the plugin has not answered.
    pub path: Option<String>,
}

const SELECT: &str = "SELECT mount_id, volume_id, holder, uses, path FROM plugin_mounts";

fn read(row: &rusqlite::Row<'_>) -> Result<PluginMountRow, ReadError> {
    let volume: String = row.get(1)?;
    Ok(PluginMountRow {
        mount_id: row.get(0)?,
        volume: VolumeId::parse(&volume).ok_or(ReadError::Unreadable {
            table: "plugin_mounts",
            id: volume,
            column: "volume_id",
        })?,
        holder: row.get(2)?,
        uses: row.get(3)?,
        path: row.get(4)?,
    })
}

impl Tx<'_> {
    /// All mounts, by volume.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn plugin_mounts(&self) -> Result<Vec<PluginMountRow>, StoreError> {
        let sql = format!("{SELECT} ORDER BY volume_id, holder, mount_id");
        self.rows("list mounts of plugins", &sql, [], read)
    }

    /// Mounts of one volume, those that are over among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn plugin_mounts_of(&self, volume: &VolumeId) -> Result<Vec<PluginMountRow>, StoreError> {
        let sql = format!("{SELECT} WHERE volume_id = ?1 ORDER BY holder, mount_id");
        self.rows("list mounts of plugins", &sql, [volume.as_str()], read)
    }
}

impl WriteTx<'_> {
    /// Records a mount that the plugin is going to be asked for, with its first use.
    ///
    /// # Errors
    /// [`StoreError`]; a second mount of the same holder is one.
    pub fn insert_plugin_mount(
        &self,
        mount_id: &str,
        volume: &VolumeId,
        holder: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "record a mount of a plugin",
            "INSERT INTO plugin_mounts (mount_id, volume_id, holder, uses) VALUES (?1, ?2, ?3, 1)",
            params![mount_id, volume.as_str(), holder],
        )?;
        Ok(())
    }

    /// Records where the plugin put it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_plugin_mount_path(&self, mount_id: &str, path: &str) -> Result<(), StoreError> {
        self.execute(
            "record where a plugin mounted",
            "UPDATE plugin_mounts SET path = ?2 WHERE mount_id = ?1",
            [mount_id, path],
        )?;
        Ok(())
    }

    /// Sets the number of uses.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_plugin_mount_uses(&self, mount_id: &str, uses: u32) -> Result<(), StoreError> {
        self.execute(
            "count a mount of a plugin",
            "UPDATE plugin_mounts SET uses = ?2 WHERE mount_id = ?1",
            params![mount_id, uses],
        )?;
        Ok(())
    }

    /// The plugin knows that the mount is over, or nobody will tell it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_plugin_mount(&self, mount_id: &str) -> Result<(), StoreError> {
        self.execute(
            "forget a mount of a plugin",
            "DELETE FROM plugin_mounts WHERE mount_id = ?1",
            [mount_id],
        )?;
        Ok(())
    }
}

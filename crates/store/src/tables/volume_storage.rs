//! In which pool a volume lies and how much it may hold; kept while it is in the trash.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;
use crate::ids::{PoolId, VolumeId};

/// What is recorded of one volume; a volume without a record lies in the state directory and has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageRow {
    pub pool: Option<PoolId>,
    pub bytes: Option<u64>,
    pub inodes: Option<u64>,
    /// Somebody is told once the volume holds more.
    pub soft_bytes: Option<u64>,
    /// They were told.
    pub soft_crossed: bool,
}

const COLUMNS: &str = "pool_id, bytes, inodes, soft_bytes, soft_crossed, volume_id";

fn read(row: &Row<'_>) -> Result<(VolumeId, StorageRow), ReadError> {
    let id: String = row.get(5)?;
    let unreadable = |column| ReadError::Unreadable {
        table: "volume_storage",
        id: id.clone(),
        column,
    };
    let number = |index, column| -> Result<Option<u64>, ReadError> {
        let number: Option<i64> = row.get(index)?;
        number
            .map(|number| u64::try_from(number).map_err(|_| unreadable(column)))
            .transpose()
    };
    let pool: Option<String> = row.get(0)?;
    let storage = StorageRow {
        pool: pool
            .map(|pool| PoolId::parse(&pool).ok_or_else(|| unreadable("pool_id")))
            .transpose()?,
        bytes: number(1, "bytes")?,
        inodes: number(2, "inodes")?,
        soft_bytes: number(3, "soft_bytes")?,
        soft_crossed: row.get(4)?,
    };
    Ok((
        VolumeId::parse(&id).ok_or_else(|| unreadable("volume_id"))?,
        storage,
    ))
}

impl Tx<'_> {
    /// Where a volume lies and what it may hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volume_storage(&self, id: &VolumeId) -> Result<StorageRow, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volume_storage WHERE volume_id = ?1");
        let found = self.one("find a volume's place", &sql, [id.as_str()], read)?;
        Ok(found.map(|(_, storage)| storage).unwrap_or_default())
    }

    /// Every volume of which that is recorded, by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all_volume_storage(&self) -> Result<Vec<(VolumeId, StorageRow)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volume_storage ORDER BY volume_id");
        self.rows("list volumes' places", &sql, [], read)
    }

    /// Names of the volumes that lie in a pool, in whatever state; those in the trash with `trash: ` before them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn volumes_in_pool(&self, id: &PoolId) -> Result<Vec<String>, StoreError> {
        self.rows(
            "list a pool's volumes",
            "SELECT COALESCE(volumes.name, 'trash: ' || volume_trash.name, volume_storage.volume_id)
             FROM volume_storage
             LEFT JOIN volumes ON volumes.id = volume_storage.volume_id
             LEFT JOIN volume_trash ON volume_trash.volume_id = volume_storage.volume_id
             WHERE pool_id = ?1 ORDER BY 1",
            [id.as_str()],
            |row| Ok(row.get(0)?),
        )
    }
}

impl WriteTx<'_> {
    /// Records where a volume lies and what it may hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_volume_storage(
        &self,
        id: &VolumeId,
        storage: &StorageRow,
    ) -> Result<(), StoreError> {
        let number =
            |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        self.execute(
            "record a volume's place",
            &format!(
                "INSERT OR REPLACE INTO volume_storage ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
            ),
            params![
                storage.pool.as_ref().map(PoolId::as_str),
                number(storage.bytes),
                number(storage.inodes),
                number(storage.soft_bytes),
                storage.soft_crossed,
                id.as_str(),
            ],
        )?;
        Ok(())
    }

    /// Forgets it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_volume_storage(&self, id: &VolumeId) -> Result<(), StoreError> {
        self.execute(
            "forget a volume's place",
            "DELETE FROM volume_storage WHERE volume_id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::Scratch;
    use crate::tables::pools::{PoolRow, PoolState};

    #[test]
    fn a_pool_knows_its_volumes() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let (pool, volume) = (PoolId::random(), VolumeId::random());
        let storage = StorageRow {
            pool: Some(pool.clone()),
            bytes: Some(7),
            ..StorageRow::default()
        };
        store
            .write(|tx| {
                tx.insert_pool(&PoolRow {
                    id: pool.clone(),
                    name: "fast".to_owned(),
                    kind: "dir".to_owned(),
                    source: Some("/srv".to_owned()),
                    size: None,
                    uuid: None,
                    labels: None,
                    state: PoolState::Ready,
                    created_at: "t".to_owned(),
                })?;
                tx.set_volume_storage(&volume, &storage)
            })
            .expect("recorded");
        let (found, names) = store
            .read(|tx| {
                Ok::<_, StoreError>((tx.volume_storage(&volume)?, tx.volumes_in_pool(&pool)?))
            })
            .expect("read");
        assert_eq!((found, names), (storage, vec![volume.to_string()]));
        store
            .write(|tx| tx.delete_pool(&pool))
            .expect_err("a volume lies in it");
    }
}

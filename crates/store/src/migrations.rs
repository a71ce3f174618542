//! Brings a database to the schema of this version, or refuses one from the future.
//!
//! `migrations/NNNN_what.sql` are embedded in order; the version of a database is how many of them it has seen. The
//! caller holds the store's lock; each start runs what is missing in one immediate transaction, so a crash leaves the
//! old schema or the new one.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{SqlError, StoreError};

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_registry.sql"),
    include_str!("../migrations/0003_snapshots.sql"),
    include_str!("../migrations/0004_volume_care.sql"),
    include_str!("../migrations/0005_build_cache.sql"),
    include_str!("../migrations/0006_health.sql"),
    include_str!("../migrations/0007_networks.sql"),
    include_str!("../migrations/0008_build_steps.sql"),
    include_str!("../migrations/0009_seeds.sql"),
    include_str!("../migrations/0010_pools.sql"),
    include_str!("../migrations/0011_plugin_mounts.sql"),
    include_str!("../migrations/0012_backups.sql"),
    include_str!("../migrations/0013_backup_schedules.sql"),
    include_str!("../migrations/0014_arrivals.sql"),
];

/// The schema version this code knows.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}

pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |source| StoreError::Migrate {
        version: known(),
        source: SqlError(source),
    };
    let found = version(connection).map_err(failed)?;
    if found > known() {
        return Err(StoreError::Newer {
            found,
            known: known(),
        });
    }
    if found == known() {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    for (sql, to) in MIGRATIONS.iter().zip(1_u32..).filter(|&(_, to)| to > found) {
        transaction
            .execute_batch(sql)
            .and_then(|()| transaction.pragma_update(None, "user_version", to))
            .map_err(|source| StoreError::Migrate {
                version: to,
                source: SqlError(source),
            })?;
    }
    transaction.commit().map_err(failed)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

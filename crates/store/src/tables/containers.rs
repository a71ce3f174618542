//! Containers: what was asked for, as JSON that only the engine understands, and the last known state.

use rusqlite::{Row, params};

use crate::db::{ReadError, Tx, WriteTx};
use crate::error::StoreError;

/// A container as recorded. Times are RFC 3339, statuses Docker's words and `creating`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRow {
    pub id: String,
    /// Without the leading `/`.
    pub name: String,
    pub image_id: String,
    /// The image as the user named it.
    pub image_ref: String,
    pub created_at: String,
    pub config: String,
    pub host_config: String,
    pub mounts: String,
    pub network: Option<String>,
    pub status: String,
    /// 0 when there is no process.
    pub pid: i32,
    pub exit_code: i32,
    pub error: String,
    pub oom_killed: bool,
    pub started_at: String,
    pub finished_at: String,
    pub restart_count: u32,
    /// The user stopped it: restart policies leave it alone.
    pub manually_stopped: bool,
    pub auto_remove: bool,
    pub log_path: String,
    /// What its health check has found, as JSON that only the engine understands.
    pub health: Option<String>,
}

/// The columns of a container that change as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    pub status: String,
    pub pid: i32,
    pub exit_code: i32,
    pub error: String,
    pub oom_killed: bool,
    pub started_at: String,
    pub finished_at: String,
    pub restart_count: u32,
    pub manually_stopped: bool,
}

/// What lists show of a container: a [`ContainerRow`] without what only its start needs, which is the most of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerListing {
    pub id: String,
    pub name: String,
    pub image_id: String,
    pub image_ref: String,
    pub created_at: String,
    pub config: String,
    pub mounts: String,
    pub network: Option<String>,
    pub status: String,
    pub exit_code: i32,
    pub started_at: String,
    pub finished_at: String,
    pub health: Option<String>,
}

impl ContainerRow {
    /// The state columns.
    pub fn state(&self) -> ContainerState {
        ContainerState {
            status: self.status.clone(),
            pid: self.pid,
            exit_code: self.exit_code,
            error: self.error.clone(),
            oom_killed: self.oom_killed,
            started_at: self.started_at.clone(),
            finished_at: self.finished_at.clone(),
            restart_count: self.restart_count,
            manually_stopped: self.manually_stopped,
        }
    }
}

const COLUMNS: &str = "id, name, image_id, image_ref, created_at, config, host_config, mounts, network, \
                       status, pid, exit_code, error, oom_killed, started_at, finished_at, restart_count, \
                       manually_stopped, auto_remove, log_path, health";

fn read(row: &Row<'_>) -> Result<ContainerRow, ReadError> {
    Ok(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image_id: row.get(2)?,
        image_ref: row.get(3)?,
        created_at: row.get(4)?,
        config: row.get(5)?,
        host_config: row.get(6)?,
        mounts: row.get(7)?,
        network: row.get(8)?,
        status: row.get(9)?,
        pid: row.get(10)?,
        exit_code: row.get(11)?,
        error: row.get(12)?,
        oom_killed: row.get(13)?,
        started_at: row.get(14)?,
        finished_at: row.get(15)?,
        restart_count: row.get(16)?,
        manually_stopped: row.get(17)?,
        auto_remove: row.get(18)?,
        log_path: row.get(19)?,
        health: row.get(20)?,
    })
}

impl Tx<'_> {
    /// One container by its whole id, in any state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container(&self, id: &str) -> Result<Option<ContainerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM containers WHERE id = ?1");
        self.one("find a container", &sql, [id], read)
    }

    /// One container by its name, without the leading `/`, in any state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_by_name(&self, name: &str) -> Result<Option<ContainerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM containers WHERE name = ?1");
        self.one("find a container", &sql, [name], read)
    }

    /// Containers in whose mounts the id of a volume occurs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers_naming(&self, volume: &str) -> Result<Vec<ContainerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM containers WHERE instr(mounts, ?1) > 0");
        self.rows("find the containers of a volume", &sql, [volume], read)
    }

    /// Whole ids that begin with these hex digits; `hex` must be lower-case hex digits only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_ids_by_prefix(&self, hex: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "find containers",
            "SELECT id FROM containers WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id",
            [hex],
            |row| Ok(row.get(0)?),
        )
    }

    /// All containers in any state, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM containers ORDER BY created_at DESC, id");
        self.rows("list containers", &sql, [], read)
    }

    /// What lists show of containers in one of these states, or in any when there are none; in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_listings(
        &self,
        statuses: &[&str],
    ) -> Result<Vec<ContainerListing>, StoreError> {
        let chosen = match statuses.len() {
            0 => String::new(),
            count => format!("WHERE status IN (?{})", ", ?".repeat(count - 1)),
        };
        let sql = format!(
            "SELECT id, name, image_id, image_ref, created_at, config, mounts, network, status, exit_code,
                 started_at, finished_at, health FROM containers {chosen}"
        );
        let statuses = rusqlite::params_from_iter(statuses);
        self.rows("list containers", &sql, statuses, |row| {
            Ok(ContainerListing {
                id: row.get(0)?,
                name: row.get(1)?,
                image_id: row.get(2)?,
                image_ref: row.get(3)?,
                created_at: row.get(4)?,
                config: row.get(5)?,
                mounts: row.get(6)?,
                network: row.get(7)?,
                status: row.get(8)?,
                exit_code: row.get(9)?,
                started_at: row.get(10)?,
                finished_at: row.get(11)?,
                health: row.get(12)?,
            })
        })
    }

    /// States of all containers, in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_statuses(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT status FROM containers";
        self.rows("count containers", sql, [], |row| Ok(row.get(0)?))
    }

    /// Containers made from an image, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers_of_image(&self, image: &str) -> Result<Vec<ContainerRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM containers WHERE image_id = ?1 ORDER BY created_at DESC, id"
        );
        self.rows("list containers", &sql, [image], read)
    }
}

impl WriteTx<'_> {
    /// Takes the id and the name and records the container.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn insert_container(&self, row: &ContainerRow) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
             ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"
        );
        self.execute("record a container", &sql, all(row)).map(drop)
    }

    /// Replaces everything recorded of a container; false when there is none with this id.
    ///
    /// # Errors
    /// [`StoreError`]; a taken name is one.
    pub fn update_container(&self, row: &ContainerRow) -> Result<bool, StoreError> {
        let changed = self.execute(
            "record a container",
            "UPDATE containers SET name = ?2, image_id = ?3, image_ref = ?4, created_at = ?5, config = ?6,
                 host_config = ?7, mounts = ?8, network = ?9, status = ?10, pid = ?11, exit_code = ?12,
                 error = ?13, oom_killed = ?14, started_at = ?15, finished_at = ?16, restart_count = ?17,
                 manually_stopped = ?18, auto_remove = ?19, log_path = ?20, health = ?21
             WHERE id = ?1",
            all(row),
        )?;
        Ok(changed > 0)
    }

    /// Replaces the state columns only, so that it cannot undo a change of the others; false when there is no such
    /// container.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn update_container_state(
        &self,
        id: &str,
        state: &ContainerState,
    ) -> Result<bool, StoreError> {
        let changed = self.execute(
            "record the state of a container",
            "UPDATE containers SET status = ?2, pid = ?3, exit_code = ?4, error = ?5, oom_killed = ?6,
                 started_at = ?7, finished_at = ?8, restart_count = ?9, manually_stopped = ?10
             WHERE id = ?1",
            params![
                id,
                state.status,
                state.pid,
                state.exit_code,
                state.error,
                state.oom_killed,
                state.started_at,
                state.finished_at,
                state.restart_count,
                state.manually_stopped,
            ],
        )?;
        Ok(changed > 0)
    }

    /// Forgets a container; none with this id is fine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_container(&self, id: &str) -> Result<(), StoreError> {
        self.execute(
            "forget a container",
            "DELETE FROM containers WHERE id = ?1",
            [id],
        )
        .map(drop)
    }
}

fn all(row: &ContainerRow) -> [&dyn rusqlite::ToSql; 21] {
    [
        &row.id,
        &row.name,
        &row.image_id,
        &row.image_ref,
        &row.created_at,
        &row.config,
        &row.host_config,
        &row.mounts,
        &row.network,
        &row.status,
        &row.pid,
        &row.exit_code,
        &row.error,
        &row.oom_killed,
        &row.started_at,
        &row.finished_at,
        &row.restart_count,
        &row.manually_stopped,
        &row.auto_remove,
        &row.log_path,
        &row.health,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::Scratch;

    fn row(id: &str, name: &str) -> ContainerRow {
        ContainerRow {
            id: id.to_owned(),
            name: name.to_owned(),
            image_id: "sha256:0".to_owned(),
            image_ref: "busybox".to_owned(),
            created_at: "2024-01-01T00:00:00Z".to_owned(),
            config: "{}".to_owned(),
            host_config: "{}".to_owned(),
            mounts: "[]".to_owned(),
            network: None,
            status: "created".to_owned(),
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: String::new(),
            finished_at: String::new(),
            restart_count: 0,
            manually_stopped: false,
            auto_remove: true,
            log_path: "/log".to_owned(),
            health: None,
        }
    }

    #[test]
    fn rows_round_trip_and_change() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let mut one = row("aa11", "one");
        store
            .write(|tx| tx.insert_container(&one))
            .expect("inserted");
        store
            .write(|tx| tx.insert_container(&row("aa22", "two")))
            .expect("inserted");
        let listed = |statuses: &[&str]| {
            let listings = store.read(|tx| tx.container_listings(statuses));
            let mut names: Vec<_> = listings
                .expect("listed")
                .into_iter()
                .map(|listing| listing.name)
                .collect();
            names.sort();
            names
        };
        assert_eq!(listed(&[]), ["one", "two"]);
        assert_eq!(listed(&["running", "created"]), ["one", "two"]);
        assert!(listed(&["running"]).is_empty());
        assert!(
            store
                .write(|tx| tx.insert_container(&row("bb33", "one")))
                .is_err(),
            "name taken"
        );
        one.name = "uno".to_owned();
        one.network = Some("{}".to_owned());
        assert!(
            store
                .write(|tx| tx.update_container(&one))
                .expect("updated")
        );
        let state = ContainerState {
            status: "running".to_owned(),
            pid: 7,
            ..one.state()
        };
        assert!(
            store
                .write(|tx| tx.update_container_state("aa11", &state))
                .expect("updated")
        );
        assert!(
            !store
                .write(|tx| tx.update_container_state("none", &state))
                .expect("asked")
        );
        let read = store
            .read(|tx| tx.container("aa11"))
            .expect("reads")
            .expect("there");
        assert_eq!(
            read,
            ContainerRow {
                status: "running".to_owned(),
                pid: 7,
                ..one
            }
        );
        store
            .read(|tx| {
                assert_eq!(tx.container_ids_by_prefix("aa")?, ["aa11", "aa22"]);
                assert_eq!(tx.container_ids_by_prefix("aa2")?, ["aa22"]);
                assert!(tx.container_by_name("one")?.is_none());
                assert_eq!(tx.containers()?.len(), 2);
                assert_eq!(tx.containers_of_image("sha256:0")?.len(), 2);
                Ok::<(), StoreError>(())
            })
            .expect("reads");
        store
            .write(|tx| tx.delete_container("aa11"))
            .expect("deleted");
        store
            .write(|tx| tx.delete_container("aa11"))
            .expect("again is fine");
    }
}

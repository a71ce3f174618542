//! Commands around a snapshot, ready-made for servers that people run in containers.
//!
//! None of them has to hold a lock over the snapshot, which a command that ends could not: what each leaves on the disk is
//! complete by itself, or is made complete by the server's own recovery, and the container is frozen while it is copied.

use std::time::Duration;

/// All of them, for people.
pub(super) const NAMES: &str = "postgresql, mariadb, mysql, redis";

/// How long a command may take, when nobody said.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Commands for `sh -c` in the container; an empty one is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(super) before: String,
    pub(super) after: String,
    /// For each of them; what takes longer is killed.
    pub(super) limit: Duration,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            before: String::new(),
            after: String::new(),
            limit: PATIENCE,
        }
    }
}

impl Hook {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// The hook of this name.
pub(super) fn recipe(name: &str) -> Option<Hook> {
    let before = match name {
        "postgresql" => POSTGRESQL,
        "mariadb" | "mysql" => MARIADB,
        "redis" => REDIS,
        _ => return None,
    };
    Some(Hook {
        before: before.to_owned(),
        ..Hook::default()
    })
}

/// Everything committed is in the log anyway; a checkpoint makes the recovery of the copy short.
const POSTGRESQL: &str = r#"psql -X -q -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-postgres}" -c CHECKPOINT"#;

/// Closes the tables of engines without a log, and writes out the logs of those that have one.
const MARIADB: &str = r#"client=$(command -v mariadb || command -v mysql) || exit 127
export MYSQL_PWD="${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-}}"
"$client" -uroot -e 'FLUSH TABLES; FLUSH LOGS'"#;

/// Has the data written in the background and waits for its end.
const REDIS: &str = r#"ask() { redis-cli ${REDIS_PASSWORD:+-a "$REDIS_PASSWORD" --no-auth-warning} "$@"; }
busy() { ask INFO persistence | grep -q 'rdb_bgsave_in_progress:1'; }
while busy; do sleep 0.1; done
ask BGSAVE | grep -qi 'started' || exit 1
while busy; do sleep 0.1; done
ask INFO persistence | grep -q 'rdb_last_bgsave_status:ok'"#;

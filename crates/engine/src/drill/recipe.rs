//! Ready-made checks for servers that people run in containers: each brings the data up the way the server itself does
//! after a crash, and reads all of it.
//!
//! `$DATA` is where the volume is. They run as root, write only to the restored volume and to `/tmp`, and end with another
//! code than 0 when anything is wrong.

use super::DrillError;

/// All of them, for people.
pub(super) const NAMES: &str = "auto, none, postgresql, mariadb, mysql, redis, sqlite";

/// A ready-made check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) command: &'static str,
    /// Servers recover their data as they start.
    pub(super) writes: bool,
}

pub(super) fn check(name: &str) -> Result<(), DrillError> {
    if matches!(name, "" | "auto" | "none") || named(name).is_some() {
        return Ok(());
    }
    Err(DrillError::Recipe(name.to_owned()))
}

/// The recipe of this name.
pub(super) fn named(name: &str) -> Option<Recipe> {
    let (command, writes) = match name {
        "postgresql" => (POSTGRESQL, true),
        "mariadb" | "mysql" => (MARIADB, true),
        "redis" => (REDIS, true),
        "sqlite" => (SQLITE, false),
        _ => return None,
    };
    Some(Recipe { command, writes })
}

/// The recipe that fits an image, by the last part of its name.
pub(super) fn fitting(image: &str) -> Option<Recipe> {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split([':', '@']).next().unwrap_or(last);
    match name {
        "postgres" | "postgresql" | "postgis" | "timescaledb" => named("postgresql"),
        "mariadb" | "mysql" | "percona" => named("mariadb"),
        "redis" | "valkey" => named("redis"),
        _ => None,
    }
}

/// Starts the server on a private socket, with a list of who may connect of its own, and reads every row of every database.
const POSTGRESQL: &str = r#"set -e
data=$(find "$DATA" -maxdepth 5 -name PG_VERSION -path '*' ! -path '*/base/*' | head -n 1)
test -n "$data" || { echo "there is no PostgreSQL cluster below $DATA" >&2; exit 1; }
data=${data%/PG_VERSION}
bin=$(dirname "$(command -v pg_ctl || ls /usr/lib/postgresql/"$(cat "$data/PG_VERSION")"/bin/pg_ctl)")
run=$(mktemp -d /tmp/drill.XXXXXX)
printf 'local all all trust\n' > "$run/hba"
rm -f "$data/postmaster.pid"
config=$data/postgresql.conf
test -f "$config" || { : > "$run/empty.conf"; config=$run/empty.conf; }
chown -R "$(stat -c %u:%g "$data")" "$run"
chmod 700 "$data"
as() { setpriv --reuid "$(stat -c %u "$data")" --regid "$(stat -c %g "$data")" --clear-groups "$@"; }
command -v setpriv >/dev/null || as() { su "$(stat -c %U "$data")" -s /bin/sh -c '"$0" "$@"' -- "$@"; }
as "$bin/pg_ctl" -D "$data" -w -t 300 -l "$run/log" -o "-c config_file=$config -c listen_addresses= -c unix_socket_directories=$run -c hba_file=$run/hba -c ssl=off -c archive_mode=off" start >/dev/null || { cat "$run/log" >&2; exit 1; }
as env PGHOST="$run" "$bin/pg_dumpall" -U "${POSTGRES_USER:-postgres}" > /dev/null
as env PGHOST="$run" "$bin/psql" -X -A -t -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-postgres}" -c "SELECT count(*) || ' databases' FROM pg_database"
as "$bin/pg_ctl" -D "$data" -w -m fast stop > /dev/null"#;

/// Starts the server without network and without asking for passwords, and reads every row of every table.
const MARIADB: &str = r#"set -e
run=$(mktemp -d /tmp/drill.XXXXXX)
server=$(command -v mariadbd || command -v mysqld || ls /usr/sbin/mariadbd /usr/sbin/mysqld 2>/dev/null | head -n 1)
admin=$(command -v mariadb-admin || command -v mysqladmin)
dump=$(command -v mariadb-dump || command -v mysqldump)
test -d "$DATA/mysql" || { echo "there is no MariaDB or MySQL below $DATA" >&2; exit 1; }
user=$(stat -c %U "$DATA/mysql")
chown "$user" "$run"
"$server" --no-defaults --user="$user" --datadir="$DATA" --skip-networking --skip-grant-tables --socket="$run/s" --pid-file="$run/pid" > "$run/log" 2>&1 &
server_pid=$!
until "$admin" --no-defaults --socket="$run/s" ping >/dev/null 2>&1; do
    kill -0 $server_pid 2>/dev/null || { cat "$run/log" >&2; exit 1; }
    sleep 0.2
done
"$dump" --no-defaults --socket="$run/s" --all-databases --skip-lock-tables > /dev/null
kill $server_pid
wait $server_pid || true"#;

/// Has each file checked by the server's own tools, then has the server load them.
const REDIS: &str = r#"set -e
run=$(mktemp -d /tmp/drill.XXXXXX)
server=$(command -v redis-server || command -v valkey-server)
client=$(command -v redis-cli || command -v valkey-cli)
for file in $(find "$DATA" -name '*.rdb'); do
    if command -v redis-check-rdb >/dev/null; then redis-check-rdb "$file" >/dev/null || { echo "$file is damaged" >&2; exit 1; }; fi
done
append=no
test -d "$DATA/appendonlydir" -o -f "$DATA/appendonly.aof" && append=yes
"$server" --port 0 --unixsocket "$run/s" --dir "$DATA" --appendonly $append --save '' > "$run/log" 2>&1 &
server_pid=$!
until "$client" -s "$run/s" ping 2>/dev/null | grep -q PONG; do
    kill -0 $server_pid 2>/dev/null || { cat "$run/log" >&2; exit 1; }
    sleep 0.2
done
"$client" -s "$run/s" INFO keyspace | grep -v '^#' || true
kill $server_pid
wait $server_pid || true"#;

/// Has SQLite itself look at every file that begins as its databases do.
const SQLITE: &str = r#"set -e
run=$(mktemp -d /tmp/drill.XXXXXX)
find "$DATA" -type f -size +0 > "$run/files"
found=0
while IFS= read -r file; do
    [ "$(head -c 15 "$file" | tr -d '\000')" = "SQLite format 3" ] || continue
    found=$((found + 1))
    cp "$file" "$run/db"
    rm -f "$run/db-wal" "$run/db-shm"
    if [ -f "$file-wal" ]; then cp "$file-wal" "$run/db-wal"; fi
    said=$(sqlite3 "$run/db" 'PRAGMA integrity_check')
    [ "$said" = ok ] || { echo "$file: $said" >&2; exit 1; }
done < "$run/files"
[ $found -gt 0 ] || { echo "there is no SQLite database below $DATA" >&2; exit 1; }
echo "$found databases""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_their_recipes() {
        for (image, wanted) in [
            ("postgres:16", Some("postgresql")),
            ("docker.io/library/postgres@sha256:aa", Some("postgresql")),
            ("registry:5000/team/mariadb", Some("mariadb")),
            ("redis:7-alpine", Some("redis")),
            ("busybox", None),
            ("my-postgres-backup", None),
        ] {
            assert_eq!(fitting(image), wanted.and_then(named), "{image}");
        }
    }

    #[test]
    fn names_are_checked() {
        for name in NAMES.split(", ").chain([""]) {
            check(name).expect(name);
        }
        check("oracle").expect_err("no such recipe");
    }
}

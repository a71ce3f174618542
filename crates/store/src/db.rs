//! The database: one writer, a few readers, transactions as closures.
//!
//! * A `write` is durable when it returns (WAL, synchronous=FULL), or nothing of it has happened.
//! * A `write_soon` is durable with the next `write` or `wait`, or with what `wait_before` was called for; until then it survives any
//!   process, and nothing else.
//! * A `read` sees one moment, and is never kept waiting by a writer.
//! * Writers are served one after the other. A closure does SQL only: no system call, no other lock.
//! * On a full disk a `write` has what [`crate::reserve`] kept for it.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, Row, TransactionBehavior};
use rustix::fs::{IFlags, Mode, OFlags};
use sys::commit_order::{self, Next};

use crate::error::{SqlError, StoreError};
use crate::journal::under_way::UnderWay;
use crate::paths::Paths;
use crate::reserve::Reserve;

/// Readers kept open between uses; more are opened and closed as needed.
const IDLE_READERS: usize = 4;

/// The state of one engine.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    reserve: Reserve,
    pub(crate) under_way: UnderWay,
}

impl Store {
    /// Opens the database below `paths`, making or migrating it when needed.
    ///
    /// # Errors
    /// [`StoreError::Newer`] for a database of a later version; [`StoreError::Open`], [`StoreError::Migrate`],
    /// [`StoreError::Io`].
    pub fn open(paths: &Paths) -> Result<Self, StoreError> {
        let path = paths.database();
        // SQLite's switch to WAL ignores its busy timeout, so two first openings must not meet.
        let lock_path = paths.store_lock();
        let _lock =
            sys::lock::FileLock::exclusive(&lock_path).map_err(|source| StoreError::Io {
                action: "lock",
                path: lock_path,
                source,
            })?;
        let reserve = Reserve::keep(paths);
        let new = !path.exists();
        make_index(&path.with_extension("db-shm"));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut writer = connect(&path, flags).map_err(|source| open_error(&path, source))?;
        writer
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| writer.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| writer.pragma_update(None, "foreign_keys", true))
            .map_err(|source| open_error(&path, source))?;
        crate::migrations::migrate(&mut writer)?;
        if new {
            rustix::fs::chmod(&path, Mode::from_raw_mode(0o600))
                .map_err(std::io::Error::from)
                .and_then(|()| sys::durable::sync_parent(&path))
                .map_err(|source| StoreError::Io {
                    action: "secure",
                    path: path.clone(),
                    source,
                })?;
        }
        Ok(Self {
            path,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            reserve,
            under_way: UnderWay::default(),
        })
    }

    /// Reads all of the database: what a crash, a disk or a hand has damaged may be found by nobody for long.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Query`].
    pub fn check(&self) -> Result<(), StoreError> {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(query_error("check the database"))?;
        if found == "ok" {
            return Ok(());
        }
        Err(StoreError::Damaged {
            path: self.path.clone(),
            found,
        })
    }

    /// Runs `query` on one consistent state.
    ///
    /// # Errors
    /// What `query` returns, or [`StoreError`].
    pub fn read<T, E: From<StoreError>>(
        &self,
        query: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let pooled = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => self.reader()?,
        };
        let result = {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Deferred)
                .map_err(query_error("begin to read"))?;
            query(&Tx {
                connection: &transaction,
            })
        };
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        result
    }

    /// Runs `change` and commits it if it succeeds; an error, or a panic, rolls everything back.
    ///
    /// # Errors
    /// What `change` returns, or [`StoreError`].
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&WriteTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // A panic in `change` has rolled back on its way here: the connection is sound.
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.reserve.before_write();
        commit(&mut connection, change)
    }

    /// As [`Store::write`], but it does not wait for the disk: the death of any process leaves it, a power cut may take it
    /// as long as no later `write`, or [`Store::wait`], has returned. What comes first is never lost before what comes later.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_soon<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&WriteTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.reserve.before_write();
        let set = |connection: &Connection, word: &str| {
            connection
                .pragma_update(None, "synchronous", word)
                .map_err(query_error("choose what to wait for"))
        };
        set(&connection, "NORMAL")?;
        // Also after a panic: the next one waits.
        let mut connection = Waiting(&mut connection);
        commit(&mut connection, change)
    }

    /// Waits until all that was written soon is on disk; at once when it is, because the whole filesystem was synced for instance.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn wait(&self) -> Result<(), StoreError> {
        let log = self.log();
        sys::durable::sync_file(&log).map_err(sync_error(log))
    }

    /// As [`Store::wait`], for what is made next in the filesystem of `dir` and shall not be on disk without what was written: where
    /// that filesystem keeps the order by itself, the disk's cache is not waited for.
    ///
    /// # Errors
    /// As [`Store::wait`].
    pub fn wait_before(&self, next: Next, dir: BorrowedFd<'_>) -> Result<(), StoreError> {
        let written = File::open(self.log())
            .and_then(|log| commit_order::write_before(log.as_fd(), next, dir));
        if written.map_err(sync_error(self.log()))? {
            return Ok(());
        }
        self.wait()
    }

    /// What is committed and not there is in the main file, which was synced before the log began anew.
    fn log(&self) -> PathBuf {
        self.path.with_extension("db-wal")
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                Ok(connection)
            })
            .map_err(|source| open_error(&self.path, source))
    }
}

fn sync_error(path: PathBuf) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io {
        action: "sync",
        path,
        source,
    }
}

/// A connection that waits for the disk again when this is dropped.
struct Waiting<'c>(&'c mut Connection);

impl Deref for Waiting<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl DerefMut for Waiting<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.0
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0
            .pragma_update(None, "synchronous", "FULL")
            .expect("a setting of the connection, outside of a transaction");
    }
}

fn commit<T, E: From<StoreError>>(
    connection: &mut Connection,
    change: impl FnOnce(&WriteTx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(query_error("begin to write"))?;
    let value = change(&WriteTx {
        read: Tx {
            connection: &transaction,
        },
    })?;
    transaction.commit().map_err(query_error("commit"))?;
    Ok(value)
}

/// Makes the index of the log, which SQLite maps into memory, before SQLite does: on btrfs it is to be written in place. A page
/// that is mapped and finds no room for its copy ends the process.
fn make_index(path: &std::path::Path) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .and_then(|file| rustix::fs::ioctl_setflags(&file, IFlags::NOCOW));
    if let Err(error) = made {
        // It is there already, or the filesystem does not know this, and does not need it.
        tracing::debug!(%error, "the index of the log is as it is");
    }
}

fn connect(path: &std::path::Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    // A checkpoint at close would make each short-lived engine pay for it at exit.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn open_error(path: &std::path::Path, source: rusqlite::Error) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        source: SqlError(source),
    }
}

fn query_error(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Query {
        action,
        source: SqlError(source),
    }
}

/// A transaction that reads. Its methods are in `tables`, one file a table.
#[derive(Debug)]
pub struct Tx<'a> {
    connection: &'a Connection,
}

/// A transaction that may also write.
#[derive(Debug)]
pub struct WriteTx<'a> {
    read: Tx<'a>,
}

impl<'a> Deref for WriteTx<'a> {
    type Target = Tx<'a>;

    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

impl Tx<'_> {
    pub(crate) fn rows<T>(
        &self,
        action: &'static str,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(query_error(action))?;
        let mut rows = statement.query(params).map_err(query_error(action))?;
        let mut values = Vec::new();
        while let Some(row) = rows.next().map_err(query_error(action))? {
            values.push(read(row).map_err(|error| error.during(action))?);
        }
        Ok(values)
    }

    pub(crate) fn one<T>(
        &self,
        action: &'static str,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(query_error(action))?;
        statement
            .query_row(params, |row| Ok(read(row)))
            .optional()
            .map_err(query_error(action))?
            .transpose()
            .map_err(|error| error.during(action))
    }
}

impl WriteTx<'_> {
    /// Number of rows that changed.
    pub(crate) fn execute(
        &self,
        action: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<usize, StoreError> {
        self.read
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(query_error(action))
    }

    /// Row id of the new row.
    pub(crate) fn insert(
        &self,
        action: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<i64, StoreError> {
        self.read
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.insert(params))
            .map_err(query_error(action))
    }
}

/// Why one row cannot be turned into a value.
#[derive(Debug)]
pub(crate) enum ReadError {
    Sql(rusqlite::Error),
    Unreadable {
        table: &'static str,
        id: String,
        column: &'static str,
    },
}

impl ReadError {
    fn during(self, action: &'static str) -> StoreError {
        match self {
            Self::Sql(source) => StoreError::Query {
                action,
                source: SqlError(source),
            },
            Self::Unreadable { table, id, column } => StoreError::Unreadable { table, id, column },
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A map as the JSON of a nullable column.
pub(crate) fn map_to_json(
    map: Option<&std::collections::BTreeMap<String, String>>,
) -> Option<String> {
    map.map(|map| serde_json::to_string(map).expect("a map of strings always serialises"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("orlop-store-{}-{count}", std::process::id()));
            std::fs::create_dir_all(&path).expect("scratch directory");
            Self(path)
        }

        pub(crate) fn store(&self) -> Store {
            Store::open(&Paths::new(&self.0).expect("made")).expect("opens")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_is_written_soon_is_there_at_once_and_the_next_write_waits_again() {
        let scratch = Scratch::new();
        let store = scratch.store();
        store
            .write_soon(|tx| tx.set_meta("a", "1"))
            .expect("written");
        let seen = store.read(|tx| tx.meta("a")).expect("read");
        assert_eq!(seen.as_deref(), Some("1"));
        let failed: Result<(), StoreError> = store.write_soon(|tx| {
            tx.set_meta("a", "2")?;
            Err(StoreError::Unreadable {
                table: "meta",
                id: String::new(),
                column: "value",
            })
        });
        assert!(failed.is_err());
        let level: i64 = store
            .writer
            .lock()
            .expect("nobody panicked")
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .expect("a setting");
        assert_eq!(level, 2, "FULL");
    }

    #[test]
    fn committed_or_nothing() {
        let scratch = Scratch::new();
        let store = scratch.store();
        store.write(|tx| tx.set_meta("a", "1")).expect("commits");
        let failed: Result<(), StoreError> = store.write(|tx| {
            tx.set_meta("a", "2")?;
            Err(StoreError::Newer { found: 0, known: 0 })
        });
        assert!(failed.is_err());
        let store = Arc::new(store);
        let shared = Arc::clone(&store);
        std::thread::spawn(move || {
            let _unreachable: Result<(), StoreError> = shared.write(|tx| {
                tx.set_meta("a", "3")?;
                panic!("in the middle");
            });
        })
        .join()
        .expect_err("panicked");
        assert_eq!(
            store.read(|tx| tx.meta("a")).expect("reads").as_deref(),
            Some("1")
        );
        drop(store);
        assert_eq!(
            scratch
                .store()
                .read(|tx| tx.meta("a"))
                .expect("reads")
                .as_deref(),
            Some("1")
        );
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let scratch = Scratch::new();
        drop(scratch.store());
        let paths = Paths::new(&scratch.0).expect("there");
        Connection::open(paths.database())
            .and_then(|connection| connection.pragma_update(None, "user_version", 999))
            .expect("set");
        let error = Store::open(&paths).expect_err("newer");
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
        assert!(
            error
                .to_string()
                .contains("newer version (its schema is 999"),
            "{error}"
        );
    }

    #[test]
    fn many_open_at_once() {
        let scratch = Scratch::new();
        let paths = Paths::new(&scratch.0).expect("made");
        std::thread::scope(|scope| {
            for index in 0..8 {
                let paths = &paths;
                scope.spawn(move || {
                    let store = Store::open(paths).expect("opens");
                    store
                        .write(|tx| tx.set_meta(&index.to_string(), "x"))
                        .expect("writes");
                });
            }
        });
        let store = scratch.store();
        for index in 0..8 {
            assert!(
                store
                    .read(|tx| tx.meta(&index.to_string()))
                    .expect("reads")
                    .is_some()
            );
        }
    }

    #[test]
    fn readers_do_not_wait_for_a_writer() {
        let scratch = Scratch::new();
        let store = scratch.store();
        store.write(|tx| tx.set_meta("a", "1")).expect("writes");
        store
            .write(|tx| {
                tx.set_meta("a", "2")?;
                let seen = store.read(|tx| tx.meta("a"))?;
                assert_eq!(seen.as_deref(), Some("1"));
                Ok::<(), StoreError>(())
            })
            .expect("writes");
    }
}

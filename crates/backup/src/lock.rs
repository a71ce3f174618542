//! restic's locks, so that nobody prunes what somebody else is about to refer to.
//!
//! A lock is a file in `locks/`, sealed like others. Several may hold shared ones, an exclusive one stands alone. A lock is made
//! anew every five minutes, and means nothing when it is older than half an hour or its process, on this host, is gone. One that
//! this very process could not remove, because the place could not be reached, means nothing either.
//!
//! restic finds out whether a process of its own host is there by sending it SIGHUP, which ends those who do not expect it.
//! Ours therefore name the host in a way that is no host's: restic believes them until they are old.
//!
//! Steps of taking one: 1. the locks of others are looked at, and those that mean nothing removed; 2. our own is written; 3. the
//! locks of others are looked at again, so that of two who come at once at least one sees the other. A thread renews it: the new
//! file is written before the old one is removed. Whoever holds a lock must ask before the one step that counts whether it is
//! still there, because others may remove it by hand.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustic_core::Id;
use serde::{Deserialize, Serialize};

use crate::crypt::id_of;
use crate::error::BackupError;
use crate::place::{Kind, Name, PlaceError, Storage};
use crate::repository::Repository;

const RENEW: Duration = Duration::from_secs(5 * 60);
/// What the hosts of our locks end with.
const OURS: &str = "/orlop";
const STALE: SignedDuration = SignedDuration::from_mins(30);
/// When renewing failed for so long, the lock is taken to be lost before others take it to be stale.
const LOST: Duration = Duration::from_secs(20 * 60);

/// Locks of this process that nobody holds any more and that are still there, wherever: no two have one id.
static LEFT: Mutex<BTreeSet<Id>> = Mutex::new(BTreeSet::new());

fn left() -> MutexGuard<'static, BTreeSet<Id>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LockFile {
    time: Timestamp,
    exclusive: bool,
    hostname: String,
    username: String,
    pid: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
}

impl LockFile {
    fn ours(exclusive: bool) -> Self {
        Self {
            time: Timestamp::now(),
            exclusive,
            hostname: hostname() + OURS,
            username: String::new(),
            pid: rustix::process::getpid().as_raw_nonzero().get().into(),
            uid: Some(rustix::process::getuid().as_raw()),
            gid: Some(rustix::process::getgid().as_raw()),
        }
    }

    pub(crate) fn is_stale(&self) -> bool {
        if Timestamp::now().duration_since(self.time) > STALE {
            return true;
        }
        let pid = i32::try_from(self.pid).ok();
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
            return false;
        };
        let host = self.hostname.strip_suffix(OURS).unwrap_or(&self.hostname);
        host == hostname()
            && rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
    }
}

fn hostname() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// A lock of ours. It is removed when this is dropped; a process that is killed leaves one that others know to be stale.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    repository: &'a Repository,
    exclusive: bool,
    shared: Arc<Shared>,
    renewing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` where locks cannot be written: the place can only be read.
    file: Option<Id>,
    renewed: Instant,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// For those who read or add.
    pub(crate) fn lock_shared(&self) -> Result<Lock<'_>, BackupError> {
        self.lock(false)
    }

    /// For those who read, also from places that they may not write to: without a lock there.
    pub(crate) fn lock_to_read(&self) -> Result<Lock<'_>, BackupError> {
        match self.lock(false) {
            Err(BackupError::Place(error)) if cannot_write(&error) => {
                tracing::debug!(%error, "reading without a lock");
                Ok(Lock::none(self))
            }
            other => other,
        }
    }

    /// For those who remove.
    pub(crate) fn lock_exclusive(&self) -> Result<Lock<'_>, BackupError> {
        self.lock(true)
    }

    fn lock(&self, exclusive: bool) -> Result<Lock<'_>, BackupError> {
        self.refuse_others(exclusive, None)?;
        let file = write(&*self.origin, self, exclusive)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                file: Some(file),
                renewed: Instant::now(),
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let mut lock = Lock {
            repository: self,
            exclusive,
            shared: Arc::clone(&shared),
            renewing: None,
        };
        self.refuse_others(exclusive, Some(file))?;
        let renewal = Renewal {
            storage: Arc::clone(&self.origin),
            key: self.key.clone(),
            version: self.config.version,
            exclusive,
            shared,
        };
        let thread = std::thread::Builder::new()
            .name("backup-lock".to_owned())
            .spawn(move || renewal.run())
            .map_err(BackupError::Threads)?;
        lock.renewing = Some(thread);
        Ok(lock)
    }

    /// Looks at the locks of others; those that mean nothing are removed.
    fn refuse_others(&self, exclusive: bool, own: Option<Id>) -> Result<(), BackupError> {
        for (id, other) in self.locks()? {
            if Some(id) == own {
                continue;
            }
            if other.is_stale() || left().contains(&id) {
                match self.origin.remove(Name::new(Kind::Lock, id)) {
                    Ok(()) => {
                        left().remove(&id);
                    }
                    Err(error) if cannot_write(&error) => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            if exclusive || other.exclusive {
                let kind = if other.exclusive { "exclusively " } else { "" };
                return Err(BackupError::Locked {
                    place: self.shown(),
                    by: format!(
                        "locked {kind}by process {} on {} since {}",
                        other.pid, other.hostname, other.time
                    ),
                });
            }
        }
        Ok(())
    }

    fn locks(&self) -> Result<Vec<(Id, LockFile)>, BackupError> {
        let mut locks = Vec::new();
        for (id, size) in self.origin.list(Kind::Lock)? {
            // A file without content is what a place without atomic writes had when a writer died.
            if size == 0 {
                continue;
            }
            match self.file(&*self.origin, Name::new(Kind::Lock, id)) {
                Ok(lock) => locks.push((id, lock)),
                Err(BackupError::Place(error)) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(locks)
    }
}

fn cannot_write(error: &PlaceError) -> bool {
    match error {
        PlaceError::Refused { .. } => true,
        PlaceError::Answer { status, .. } => *status == 405,
        PlaceError::File { source, .. } => matches!(
            source.kind(),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
        ),
        _ => false,
    }
}

fn write(
    storage: &dyn Storage,
    repository: &Repository,
    exclusive: bool,
) -> Result<Id, BackupError> {
    let version = repository.config.version;
    let sealed = sealed(&repository.cipher, version, exclusive);
    let id = id_of(&sealed);
    storage
        .write(Name::new(Kind::Lock, id), &sealed)
        // It may be there: an answer that was lost looks the same.
        .inspect_err(|_| {
            left().insert(id);
        })?;
    Ok(id)
}

fn sealed(cipher: &crate::crypt::Cipher, version: u32, exclusive: bool) -> Vec<u8> {
    let plain = serde_json::to_vec(&LockFile::ours(exclusive)).expect("a lock is plain data");
    cipher.seal_file(&plain, version)
}

struct Renewal {
    storage: Arc<dyn Storage>,
    key: crate::crypt::MasterKey,
    version: u32,
    exclusive: bool,
    shared: Arc<Shared>,
}

impl Renewal {
    fn run(self) {
        let Some(cipher) = crate::crypt::Cipher::new(&self.key) else {
            return;
        };
        loop {
            let state = self.shared.state();
            let (state, _) = self
                .shared
                .changed
                .wait_timeout_while(state, RENEW, |state| !state.ended)
                .unwrap_or_else(PoisonError::into_inner);
            let (false, Some(old)) = (state.ended, state.file) else {
                return;
            };
            drop(state);
            let sealed = sealed(&cipher, self.version, self.exclusive);
            let new = id_of(&sealed);
            if let Err(error) = self.storage.write(Name::new(Kind::Lock, new), &sealed) {
                tracing::warn!(%error, "the lock of the repository cannot be renewed");
                left().insert(new);
                continue;
            }
            let mut state = self.shared.state();
            state.file = Some(new);
            state.renewed = Instant::now();
            drop(state);
            if let Err(error) = self.storage.remove(Name::new(Kind::Lock, old)) {
                tracing::debug!(%error, "an old lock stays for now");
                left().insert(old);
            }
        }
    }
}

impl<'a> Lock<'a> {
    fn none(repository: &'a Repository) -> Self {
        Self {
            repository,
            exclusive: false,
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    file: None,
                    renewed: Instant::now(),
                    ended: false,
                }),
                changed: Condvar::new(),
            }),
            renewing: None,
        }
    }

    /// # Errors
    /// [`BackupError::LockLost`] when it is gone or too old, or somebody holds one that does not go with it.
    pub(crate) fn still_held(&self) -> Result<(), BackupError> {
        // The thread may be about to replace the file: its lock is held while we look.
        let state = self.shared.state();
        let lost = || BackupError::LockLost {
            place: self.repository.shown(),
        };
        let Some(file) = state.file else {
            return Ok(());
        };
        if state.renewed.elapsed() > LOST {
            return Err(lost());
        }
        let there = self.repository.origin.list(Kind::Lock)?;
        if !there.iter().any(|(id, _)| *id == file) {
            return Err(lost());
        }
        self.repository.refuse_others(self.exclusive, Some(file))
    }

    /// Removes it; dropping it does the same.
    pub(crate) fn release(self) {
        drop(self);
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.renewing.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that renews the lock of the repository has failed");
        }
        let file = self.shared.state().file.take();
        if let Some(id) = file
            && let Err(error) = self.repository.origin.remove(Name::new(Kind::Lock, id))
        {
            tracing::warn!(%error, "the lock of the repository stays until somebody uses it again");
            left().insert(id);
        }
    }
}

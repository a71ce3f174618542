//! Locks on files (`flock`) that tell other processes whether the holder lives.
//!
//! The kernel gives a lock up when the last duplicate of its descriptor closes, so also when the holder is killed.
//! Descriptors are close-on-exec; a forked child that goes on must close them ([`crate::fd::close_all_except`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock, making the file when it is missing. `None` when somebody else holds it.
    pub fn try_exclusive(path: impl AsRef<Path>) -> io::Result<Option<Self>> {
        let file = open(path.as_ref())?;
        match retry(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the lock, making the file when it is missing.
    pub fn exclusive(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = open(path.as_ref())?;
        retry(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self { file })
    }

    /// The locked file, for instance to write who holds it.
    pub const fn file(&self) -> &File {
        &self.file
    }
}

/// Whether somebody holds the lock at this moment. A missing file is not locked.
///
/// The probe itself holds a shared lock for an instant: holders take theirs with [`FileLock::exclusive`] where that
/// must not make them fail.
pub fn is_locked(path: impl AsRef<Path>) -> io::Result<bool> {
    let file = match File::open(path.as_ref()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match retry(|| flock(&file, FlockOperation::NonBlockingLockShared)) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Waits until nobody holds the lock. A missing file is not locked.
pub fn wait_unlocked(path: impl AsRef<Path>) -> io::Result<()> {
    match File::open(path.as_ref()) {
        Ok(file) => Ok(retry(|| flock(&file, FlockOperation::LockShared))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn retry(mut call: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_until_dropped() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("orlop-lock-{}", std::process::id()));
        assert!(!is_locked(&path)?);
        let held = FileLock::try_exclusive(&path)?;
        assert!(held.is_some());
        assert!(is_locked(&path)?);
        assert!(FileLock::try_exclusive(&path)?.is_none());
        drop(held);
        assert!(!is_locked(&path)?);
        wait_unlocked(&path)?;
        drop(FileLock::exclusive(&path)?);
        std::fs::remove_file(&path)
    }
}

//! One engine a state directory: a lock that dies with its holder.

use std::io::{Read as _, Seek as _, Write as _};

use sys::lock::FileLock;

use crate::error::StoreError;
use crate::paths::Paths;

/// Held by the engine of a state directory as long as it runs.
#[derive(Debug)]
pub struct InstanceLock {
    _lock: FileLock,
}

impl InstanceLock {
    /// Takes the lock and leaves this process's id in it; `None` when another engine has it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn try_take(paths: &Paths) -> Result<Option<Self>, StoreError> {
        let path = paths.engine_lock();
        let lock = FileLock::try_exclusive(&path).map_err(|source| StoreError::Io {
            action: "lock",
            path,
            source,
        })?;
        let Some(lock) = lock else {
            return Ok(None);
        };
        let mut file = lock.file();
        // The lock holds without it: an engine on a full disk can still be asked to make room.
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .ok();
        Ok(Some(Self { _lock: lock }))
    }

    /// The process that last took the lock, for messages; it may be gone.
    pub fn holder(paths: &Paths) -> Option<u32> {
        let mut text = String::new();
        let mut file = std::fs::File::open(paths.engine_lock()).ok()?;
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::Scratch;

    #[test]
    fn one_at_a_time() {
        let scratch = Scratch::new();
        let paths = Paths::new(&scratch.0).expect("made");
        let lock = InstanceLock::try_take(&paths)
            .expect("locks")
            .expect("free");
        assert_eq!(InstanceLock::holder(&paths), Some(std::process::id()));
        assert!(InstanceLock::try_take(&paths).expect("asks").is_none());
        drop(lock);
        assert!(InstanceLock::try_take(&paths).expect("locks").is_some());
    }
}

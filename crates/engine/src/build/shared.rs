//! Directories that steps of builds share (`RUN --mount=type=cache`), and who uses which.
//!
//! They outlive builds; `builder prune` removes them. `shared`: several steps write at once; `locked`: one waits for the other;
//! `private`: a second one gets a directory of its own.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use jiff::Timestamp;

use super::{BuildError, Builder};

#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many steps use a directory.
    users: Mutex<HashMap<String, usize>>,
    changed: Condvar,
}

/// Use of a directory; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    state: Arc<State>,
    key: String,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut users = self
            .state
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.key);
            }
        }
        drop(users);
        self.state.changed.notify_all();
    }
}

impl Shared {
    /// The directory for `id`, and the right to use it.
    pub(super) fn take(&self, id: &str, sharing: &str) -> (String, InUse) {
        let users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut users, key) = match sharing {
            "locked" => {
                let users = self
                    .0
                    .changed
                    .wait_while(users, |users| users.contains_key(id))
                    .unwrap_or_else(PoisonError::into_inner);
                (users, id.to_owned())
            }
            "private" => {
                let free = (0..)
                    .map(|number| match number {
                        0 => id.to_owned(),
                        number => format!("{id}#{number}"),
                    })
                    .find(|key| !users.contains_key(key))
                    .expect("numbers do not end");
                (users, free)
            }
            _ => (users, id.to_owned()),
        };
        *users.entry(key.clone()).or_default() += 1;
        let in_use = InUse {
            state: Arc::clone(&self.0),
            key: key.clone(),
        };
        (key, in_use)
    }

    pub(super) fn is_used(&self, key: &str) -> bool {
        self.0
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(key)
    }
}

impl Builder {
    /// The directory with this key; whether it was made now.
    pub(super) fn shared_directory(
        &self,
        key: &str,
        target: &str,
    ) -> Result<(PathBuf, bool), BuildError> {
        let now = Timestamp::now().to_string();
        let description = format!("mount / of cache {key} at {target}");
        let id = self
            .store
            .write(|tx| tx.use_build_mount(key, &description, &now))?;
        let path = self.paths.build_mount(id);
        match sys::durable::create_dir(&path, 0o755) {
            Ok(()) => Ok((path, true)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((path, false)),
            Err(source) => Err(BuildError::File {
                action: "cannot make",
                path,
                source,
            }),
        }
    }

    /// Removes a directory; the bytes that it took. Idempotent.
    pub(super) fn remove_shared(&self, id: i64) -> Result<u64, BuildError> {
        let path = self.paths.build_mount(id);
        self.store.write(|tx| tx.release_build_mount(id))?;
        let size = sys::dir::tree_size(&path).map_or(0, |size| size.bytes);
        match sys::dir::remove_tree(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BuildError::File {
                    action: "cannot remove",
                    path,
                    source: error,
                });
            }
            _ => {}
        }
        self.store.write(|tx| tx.delete_build_mount(id))?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares() {
        let shared = Shared::default();
        let (first, held) = shared.take("a", "shared");
        let (second, also) = shared.take("a", "shared");
        assert_eq!((first.as_str(), second.as_str()), ("a", "a"));
        let (own, private) = shared.take("a", "private");
        assert_eq!(own, "a#1");
        drop((held, also, private));
        assert!(!shared.is_used("a"));
        let (_, locked) = shared.take("a", "locked");
        let waiting = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.take("a", "locked").0)
        };
        assert!(shared.is_used("a"));
        drop(locked);
        assert_eq!(waiting.join().unwrap(), "a");
    }
}

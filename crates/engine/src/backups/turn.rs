//! Turns: of one volume to one repository goes one backup at a time, whoever asks for it.
//!
//! Whoever comes while another one is under way waits, or leaves. All volumes of a call are taken at once, so that two calls
//! never wait for each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use store::RepositoryId;

use crate::cancel::Cancel;

/// The volumes that are being backed up, each with where to.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<BTreeSet<(String, String)>>,
    changed: Condvar,
}

/// A turn of some volumes, over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    held: Vec<(String, String)>,
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Waits until none of the volumes is being backed up to the repository, and takes the turn of all. `wait` is called
    /// with the number of a volume that somebody else has, once. `None`: cancelled.
    pub(super) fn take(
        &self,
        repository: &RepositoryId,
        volumes: &[String],
        cancel: &Cancel,
        wait: impl FnOnce(usize),
    ) -> Option<Turn> {
        let wanted: Vec<_> = volumes
            .iter()
            .map(|volume| (repository.as_str().to_owned(), volume.clone()))
            .collect();
        let shared = Arc::clone(&self.0);
        let _woken = cancel.on_cancel(Box::new({
            let shared = Arc::clone(&shared);
            move || {
                // With the lock: whoever looked just now, and saw no reason to leave, waits already.
                let _taken = shared.taken();
                shared.changed.notify_all();
            }
        }));
        let busy = |taken: &BTreeSet<_>| wanted.iter().position(|one| taken.contains(one));
        let mut taken = shared.taken();
        if let Some(first) = busy(&taken) {
            wait(first);
            taken = shared
                .changed
                .wait_while(taken, |taken| {
                    busy(taken).is_some() && !cancel.is_cancelled()
                })
                .unwrap_or_else(PoisonError::into_inner);
        }
        if cancel.is_cancelled() {
            return None;
        }
        taken.extend(wanted.iter().cloned());
        drop(taken);
        Some(Turn {
            shared,
            held: wanted,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.shared.taken();
        for one in &self.held {
            taken.remove(one);
        }
        drop(taken);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A thread that waits for a turn; what it says: that it waits for a volume, then whether it got it.
    fn come(
        turns: &Turns,
        repository: &RepositoryId,
        volumes: &[&str],
        cancel: &Arc<Cancel>,
    ) -> mpsc::Receiver<Result<usize, bool>> {
        let (says, said) = mpsc::channel();
        let (turns, repository) = (turns.clone(), repository.clone());
        let (volumes, cancel) = (names(volumes), Arc::clone(cancel));
        std::thread::spawn(move || {
            let turn = turns.take(&repository, &volumes, &cancel, |which| {
                says.send(Ok(which)).unwrap();
            });
            says.send(Err(turn.is_some())).unwrap();
        });
        said
    }

    #[test]
    fn the_second_waits_for_the_first_and_others_do_not() {
        let turns = Turns::default();
        let (here, there) = (RepositoryId::random(), RepositoryId::random());
        let cancel = Arc::new(Cancel::default());
        let nobody = |_| panic!("nobody has it");
        let first = turns.take(&here, &names(&["a", "b"]), &cancel, nobody);
        let other = turns.take(&here, &names(&["c"]), &cancel, nobody);
        let elsewhere = turns.take(&there, &names(&["a"]), &cancel, nobody);
        assert!(first.is_some() && other.is_some() && elsewhere.is_some());
        let second = come(&turns, &here, &["b", "c"], &cancel);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Ok(0)));
        drop(first);
        // It holds nothing while it waits for the rest.
        let back = turns.take(&here, &names(&["b"]), &cancel, nobody);
        drop(back);
        drop(other);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Err(true)));
    }

    #[test]
    fn whoever_waits_may_leave() {
        let turns = Turns::default();
        let here = RepositoryId::random();
        let first = turns.take(&here, &names(&["a"]), &Cancel::default(), |_| {});
        let cancel = Arc::new(Cancel::default());
        let second = come(&turns, &here, &["a"], &cancel);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Ok(0)));
        cancel.cancel();
        assert_eq!(second.recv_timeout(PATIENCE), Ok(Err(false)));
        drop(first);
        let third = turns.take(&here, &names(&["a"]), &Cancel::default(), |_| {
            panic!("nobody has it")
        });
        assert!(third.is_some());
    }
}

//! A gate before the place, for work that the library does and that cannot be told to stop: once somebody wants it to end, the
//! next thing that it asks of the place fails.
//!
//! The gate stays open once a part of the index was removed: from then on the shortest way to a tidy repository is to the end.
//! It notes what was written, for whoever takes it back.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::place::Name;
use crate::repository::Watch;

/// Shall the work end? Since the last one so many bytes were done.
#[derive(Debug)]
struct Question {
    done: u64,
    answer: SyncSender<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who knows whether it shall end; `None`: nobody may end it.
    watch: Option<Sender<Question>>,
    shut: bool,
    /// Bytes that were written so far.
    done: u64,
    /// Writes that are under way.
    writing: usize,
    written: Vec<Name>,
}

/// A write that is under way.
#[derive(Debug)]
pub(crate) struct Writing<'a>(&'a Gate);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.state().writing -= 1;
        self.0.idle.notify_all();
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as `work` runs, `watch` says whether it shall end.
    pub(crate) fn watched_by<T>(&self, watch: &dyn Watch, work: impl FnOnce() -> T) -> T {
        // The library keeps what it works with for longer than `watch` may live: it asks a thread that knows it.
        let (sender, asked): (_, Receiver<Question>) = channel();
        self.state().watch = Some(sender);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for question in asked {
                    watch.advance(question.done);
                    // Whoever asked may have gone on.
                    question.answer.send(watch.stop()).ok();
                }
            });
            let done = work();
            self.state().watch = None;
            done
        })
    }

    /// Whether somebody wants the work to end; it stays so.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut_after(0)
    }

    /// The same, when so many bytes more are done.
    pub(crate) fn is_shut_after(&self, done: u64) -> bool {
        let mut state = self.state();
        state.done += done;
        let (false, Some(watch)) = (state.shut, state.watch.clone()) else {
            return state.shut;
        };
        drop(state);
        let (answer, answered) = sync_channel(1);
        let stop =
            watch.send(Question { done, answer }).is_ok() && answered.recv().unwrap_or(false);
        let mut state = self.state();
        // Not when it was held open meanwhile.
        state.shut |= stop && state.watch.is_some();
        state.shut
    }

    /// Nobody may end the work any more, unless somebody has: false.
    pub(crate) fn hold_open(&self) -> bool {
        let mut state = self.state();
        state.watch = None;
        !state.shut
    }

    /// Notes that `name` is being written.
    pub(crate) fn writing(&self, name: Name) -> Writing<'_> {
        let mut state = self.state();
        state.writing += 1;
        state.written.push(name);
        Writing(self)
    }

    /// Bytes that `watch` was told of.
    pub(crate) fn done(&self) -> u64 {
        self.state().done
    }

    /// Everything that was written, once nothing is any more. The gate is shut.
    pub(crate) fn written(&self) -> Vec<Name> {
        let state = self.state();
        let mut state = self
            .idle
            .wait_while(state, |state| state.writing > 0)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.written)
    }
}

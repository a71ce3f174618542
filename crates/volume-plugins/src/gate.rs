//! Who may call a plugin now: the breaker that keeps one that hangs from taking everybody's threads.
//!
//! * At most [`PLACES`] calls wait for a plugin at once; more wait for a place, but not for long.
//! * After a call that got no answer the plugin rests: calls fail at once with that error. When the rest is over, one
//!   call tries; its answer opens the gate, its silence begins the next rest.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{PluginError, held};

const PLACES: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When each of the calls that wait for an answer began.
    waiting: Vec<(u64, Instant)>,
    number: u64,
    /// Calls that it answered.
    answered: u64,
    /// It did not answer: when, and what was said of that.
    silent: Option<(Instant, String)>,
    /// One call tries whether it is back.
    trying: bool,
}

/// The right to one call; to be given back with how it went.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    number: u64,
    is_trial: bool,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Answered,
    /// It said nothing in time.
    Silent(String),
    /// There was nobody to answer.
    Absent,
}

impl Gate {
    /// Waits for a place, at most `queue`.
    pub(crate) fn enter(
        &self,
        plugin: &str,
        rest: Duration,
        queue: Duration,
    ) -> Result<Pass<'_>, PluginError> {
        let until = Instant::now() + queue;
        let mut state = held(&self.state);
        loop {
            if let Some((since, last)) = &state.silent {
                let left = rest.saturating_sub(since.elapsed());
                if !left.is_zero() || state.trying {
                    return Err(PluginError::Resting {
                        plugin: plugin.to_owned(),
                        left,
                        last: last.clone(),
                    });
                }
            }
            if state.waiting.len() < PLACES {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PluginError::Busy {
                    plugin: plugin.to_owned(),
                    waiting: state.waiting.len(),
                });
            }
            state = self
                .freed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let is_trial = state.silent.is_some();
        state.trying |= is_trial;
        state.number += 1;
        let number = state.number;
        state.waiting.push((number, Instant::now()));
        Ok(Pass {
            gate: self,
            number,
            is_trial,
            outcome: Outcome::Absent,
        })
    }

    /// Until a call is over, at most `pause`.
    pub(crate) fn wait_for_news(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = held(&self.state);
        let answered = state.answered;
        while state.answered == answered {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .freed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether it rests, or somebody has waited for it longer than `long`.
    pub(crate) fn is_silent(&self, long: Duration) -> bool {
        let state = held(&self.state);
        state.silent.is_some()
            || state
                .waiting
                .iter()
                .any(|(_, since)| since.elapsed() > long)
    }
}

impl Pass<'_> {
    /// The plugin is there.
    pub(crate) fn answered(mut self) {
        self.outcome = Outcome::Answered;
    }

    /// The call got no answer in time.
    pub(crate) fn unanswered(mut self, why: String) {
        self.outcome = Outcome::Silent(why);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = held(&self.gate.state);
        let began = state
            .waiting
            .iter()
            .position(|(number, _)| *number == self.number)
            .map(|index| state.waiting.swap_remove(index).1);
        if self.is_trial {
            state.trying = false;
        }
        match std::mem::replace(&mut self.outcome, Outcome::Absent) {
            Outcome::Silent(why) => state.silent = Some((Instant::now(), why)),
            // One that has ended hangs no longer.
            Outcome::Absent if self.is_trial => state.silent = None,
            Outcome::Absent => {}
            // An answer to a call from before the silence says nothing of now.
            Outcome::Answered => {
                state.answered += 1;
                if let (Some((since, _)), Some(began)) = (&state.silent, began)
                    && began >= *since
                {
                    state.silent = None;
                }
            }
        }
        drop(state);
        self.gate.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_silent_plugin_rests_and_is_tried_once() {
        let gate = Gate::default();
        let enter = |rest| gate.enter("x", rest, Duration::ZERO);
        enter(HOUR).expect("open").unanswered("silence".to_owned());
        assert!(gate.is_silent(HOUR));
        let resting = enter(HOUR).expect_err("it rests");
        assert_eq!(
            resting.to_string(),
            "volume plugin x is left alone for 3600 s more: silence"
        );
        let trial = enter(Duration::ZERO).expect("the rest is over");
        enter(Duration::ZERO).expect_err("one trial at a time");
        trial.unanswered("again".to_owned());
        enter(HOUR).expect_err("it rests again");
        enter(Duration::ZERO).expect("the rest is over").answered();
        assert!(!gate.is_silent(HOUR));
        let _open: Vec<_> = (0..PLACES)
            .map(|_| enter(HOUR).expect("it answered"))
            .collect();
        assert_eq!(
            enter(HOUR).expect_err("full").to_string(),
            "volume plugin x is busy: 8 calls wait for its answer"
        );
        assert!(gate.is_silent(Duration::ZERO));
    }

    #[test]
    fn an_answer_from_before_the_silence_ends_no_rest() {
        let gate = Gate::default();
        let old = gate.enter("x", HOUR, HOUR).expect("open");
        let other = gate.enter("x", HOUR, HOUR).expect("open");
        other.unanswered("silence".to_owned());
        old.answered();
        assert!(gate.is_silent(HOUR));
    }
}

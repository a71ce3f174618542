//! What became of a schedule, and what follows from it for now.
//!
//! A time that is due is dealt with once: whatever was missed meanwhile is one run. A run that failed is tried again after
//! a pause that doubles, until it succeeds or the next time is due. A run that an engine's end cut off, or whose end could
//! not be recorded, counts as failed and is tried again at once.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::when::When;

/// Before a run that failed is tried again; each time twice as long.
const FIRST: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// What is recorded of a schedule. Times are RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    /// Nothing is due before.
    pub since: String,
    pub paused: bool,
    /// A run is under way since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_since: Option<String>,
    /// The newest due time that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    pub failures_in_a_row: u32,
    pub runs: u64,
    pub failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// When the repository gave room back last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_prune: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Outcome {
    pub began: String,
    pub ended: String,
    /// Why it failed; `None`: it did not.
    pub error: Option<String>,
    pub volumes: Vec<VolumeOutcome>,
    /// Bytes of files, and what the repository has grown by.
    pub bytes: u64,
    pub stored_bytes: u64,
    pub forgotten: u64,
    pub warnings: Vec<String>,
}

/// One volume in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOutcome {
    pub volume: String,
    /// Id of the backup.
    pub backup: String,
    pub bytes: u64,
    pub stored_bytes: u64,
    pub seconds: f64,
}

impl Outcome {
    /// Seconds.
    pub fn duration(&self) -> Option<f64> {
        let (began, ended) = (parsed(&self.began)?, parsed(&self.ended)?);
        Some(ended.duration_since(began).as_secs_f64())
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// A run, which deals with everything up to this time.
    Run { due: Timestamp },
    /// Nothing until then; `None`: never.
    Wait(Option<Timestamp>),
}

pub(super) fn parsed(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

impl State {
    /// What is to be done at `now`.
    pub(super) fn decide(&self, name: &str, when: &When, now: Timestamp) -> Decision {
        if self.paused || self.running_since.is_some() {
            return Decision::Wait(None);
        }
        let since = parsed(&self.since).unwrap_or(now);
        let handled = self.handled.as_deref().and_then(parsed);
        let newest = when.newest(since, now);
        if let Some(due) = newest.filter(|due| handled.is_none_or(|handled| *due > handled)) {
            let begin = when.begin(name, since, due);
            if begin <= now {
                return Decision::Run { due };
            }
            return Decision::Wait(Some(begin));
        }
        let retry = self.retry_at.as_deref().and_then(parsed);
        if let (Some(retry), Some(due)) = (retry, handled)
            && retry <= now
        {
            return Decision::Run { due };
        }
        let next = when
            .next(since, now)
            .map(|due| when.begin(name, since, due));
        Decision::Wait(match (next, retry) {
            (Some(next), Some(retry)) => Some(next.min(retry)),
            (next, retry) => next.or(retry),
        })
    }

    /// A run begins; `due` is what it deals with, unless somebody asked for it.
    pub(super) fn begin(&mut self, due: Option<Timestamp>, now: Timestamp) {
        self.running_since = Some(now.to_string());
        self.retry_at = None;
        if let Some(due) = due {
            self.handled = Some(due.to_string());
        }
    }

    /// A run has ended.
    pub(super) fn end(&mut self, outcome: Outcome, now: Timestamp) {
        self.running_since = None;
        self.runs += 1;
        if outcome.error.is_some() {
            self.failures += 1;
            self.failures_in_a_row += 1;
            let doubled = 1_i32 << self.failures_in_a_row.saturating_sub(1).min(10);
            let pause = (FIRST * doubled).min(LONGEST);
            self.retry_at = now.checked_add(pause).ok().map(|time| time.to_string());
            self.handled.get_or_insert_with(|| now.to_string());
        } else {
            self.failures_in_a_row = 0;
            self.retry_at = None;
            self.last_success = Some(outcome.ended.clone());
        }
        self.last = Some(outcome);
    }

    /// A run that the record says is under way is not: `why`. It is made up for at once. Whether the record says so.
    pub(super) fn cut_off(&mut self, why: &str, now: Timestamp) -> bool {
        let Some(began) = self.running_since.clone() else {
            return false;
        };
        let outcome = Outcome {
            began,
            ended: now.to_string(),
            error: Some(why.to_owned()),
            ..Outcome::default()
        };
        self.end(outcome, now);
        self.retry_at = Some(now.to_string());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;

    const NAME: &str = "nightly";

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn since(text: &str) -> State {
        State {
            since: text.to_owned(),
            ..State::default()
        }
    }

    fn daily() -> When {
        When::of(&Plan {
            cron: "0 3 * * *".to_owned(),
            ..Plan::default()
        })
        .expect("a legal plan")
    }

    fn ended(error: Option<&str>, at: Timestamp) -> Outcome {
        Outcome {
            began: at.to_string(),
            ended: at.to_string(),
            error: error.map(str::to_owned),
            ..Outcome::default()
        }
    }

    /// Days of downtime are one run, and then the next is tomorrow's.
    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let when = daily();
        let mut state = since("2026-11-01T12:00:00Z");
        let first = time("2026-11-02T03:00:00Z");
        assert_eq!(
            state.decide(NAME, &when, time("2026-11-01T13:00:00Z")),
            Decision::Wait(Some(first))
        );
        assert_eq!(
            state.decide(NAME, &when, first),
            Decision::Run { due: first }
        );
        state.begin(Some(first), first);
        assert_eq!(
            state.decide(NAME, &when, first),
            Decision::Wait(None),
            "never two"
        );
        state.end(ended(None, first), first);
        let late = time("2026-11-07T10:00:00Z");
        let due = time("2026-11-07T03:00:00Z");
        assert_eq!(state.decide(NAME, &when, late), Decision::Run { due });
        state.begin(Some(due), late);
        state.end(ended(None, late), late);
        assert_eq!(
            state.decide(NAME, &when, late),
            Decision::Wait(Some(time("2026-11-08T03:00:00Z")))
        );
        assert_eq!((state.runs, state.failures), (2, 0));
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let when = daily();
        let mut now = time("2026-11-02T03:00:00Z");
        let due = now;
        let mut state = since("2026-11-01T12:00:00Z");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(state.decide(NAME, &when, now), Decision::Run { due });
            state.begin(Some(due), now);
            state.end(ended(Some("no route to host"), now), now);
            let Decision::Wait(Some(next)) = state.decide(NAME, &when, now) else {
                panic!("a failure is not tried again at once");
            };
            pauses.push(next.duration_since(now).as_secs() / 60);
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(state.failures_in_a_row, 8);
        state.begin(Some(due), now);
        state.end(ended(None, now), now);
        assert_eq!((state.failures_in_a_row, state.retry_at.clone()), (0, None));
        assert_eq!(
            state.decide(NAME, &when, now),
            Decision::Wait(Some(time("2026-11-03T03:00:00Z")))
        );
    }

    #[test]
    fn a_run_that_was_cut_off_failed_and_is_tried_at_once() {
        let when = daily();
        let due = time("2026-11-02T03:00:00Z");
        let mut state = since("2026-11-01T12:00:00Z");
        assert!(!state.clone().cut_off("x", due));
        state.begin(Some(due), due);
        let text = serde_json::to_string(&state).expect("plain data");
        let mut state: State = serde_json::from_str(&text).expect("reads back");
        let later = time("2026-11-02T09:00:00Z");
        assert!(state.cut_off("x", later));
        assert!(state.last.as_ref().is_some_and(|last| last.error.is_some()));
        assert_eq!(state.decide(NAME, &when, later), Decision::Run { due });
    }

    #[test]
    fn paused_is_never_due() {
        let mut state = since("2026-11-01T12:00:00Z");
        state.paused = true;
        assert_eq!(
            state.decide(NAME, &daily(), time("2027-11-01T12:00:00Z")),
            Decision::Wait(None)
        );
    }
}

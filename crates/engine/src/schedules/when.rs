//! When a schedule is due: a crontab expression or a period, in a time zone, with jitter.
//!
//! Everything here is arithmetic on times that are given: no clock is read.

use std::str::FromStr as _;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{Plan, ScheduleError};

/// Shorter periods are no backups but a load.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// A plan's times, understood.
#[derive(Debug, Clone)]
pub(super) struct When {
    rule: Rule,
    jitter: SignedDuration,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>, TimeZone),
    Every(SignedDuration),
}

impl When {
    /// Understands what a plan says of times.
    pub(super) fn of(plan: &Plan) -> Result<Self, ScheduleError> {
        let seconds = |seconds: u64| {
            i64::try_from(seconds)
                .map(SignedDuration::from_secs)
                .map_err(|_| ScheduleError::Period)
        };
        let rule = match (plan.cron.as_str(), plan.every_seconds) {
            ("", 0) => return Err(ScheduleError::NoTime),
            ("", every) => {
                let every = seconds(every)?;
                if every < SHORTEST {
                    return Err(ScheduleError::Period);
                }
                Rule::Every(every)
            }
            (text, 0) => {
                let cron = Cron::from_str(text).map_err(|error| ScheduleError::Cron {
                    text: text.to_owned(),
                    why: error.to_string(),
                })?;
                let zone = if plan.zone.is_empty() {
                    TimeZone::UTC
                } else {
                    TimeZone::get(&plan.zone).map_err(|_| ScheduleError::Zone(plan.zone.clone()))?
                };
                Rule::Cron(Box::new(cron), zone)
            }
            _ => return Err(ScheduleError::TwoTimes),
        };
        Ok(Self {
            rule,
            jitter: seconds(plan.jitter_seconds)?,
        })
    }

    /// The newest time up to `now`, and after `since`, at which a run is due.
    pub(super) fn newest(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let newest = match &self.rule {
            Rule::Cron(cron, zone) => cron
                .find_previous_occurrence(&now.to_zoned(zone.clone()), true)
                .ok()?
                .timestamp(),
            Rule::Every(every) => {
                let passed = now.duration_since(since).as_secs() / every.as_secs();
                multiple(since, *every, passed)?
            }
        };
        (newest > since).then_some(newest)
    }

    /// The first time after `after` at which a run is due; periods are counted from `since`.
    pub(super) fn next(&self, since: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron, zone) => Some(
                cron.find_next_occurrence(&after.to_zoned(zone.clone()), false)
                    .ok()?
                    .timestamp(),
            ),
            Rule::Every(every) => {
                let passed = after.duration_since(since).as_secs().max(0) / every.as_secs();
                multiple(since, *every, passed + 1)
            }
        }
    }

    /// When a run that is due at `due` begins: later by something that is always the same for schedule and time, and never
    /// so late that it meets the next one.
    pub(super) fn begin(&self, name: &str, since: Timestamp, due: Timestamp) -> Timestamp {
        let most = self.next(since, due).map_or(self.jitter, |next| {
            self.jitter.min(next.duration_since(due) / 2)
        });
        let milliseconds = u64::try_from(most.as_millis()).unwrap_or(0);
        if milliseconds == 0 {
            return due;
        }
        let digest = Sha256::digest(format!("{name}\n{due}"));
        let (draw, _) = digest
            .as_slice()
            .split_first_chunk::<8>()
            .expect("a digest has 32 bytes");
        let draw = i64::try_from(u64::from_be_bytes(*draw) % milliseconds).unwrap_or(0);
        due.checked_add(SignedDuration::from_millis(draw))
            .unwrap_or(due)
    }
}

fn multiple(since: Timestamp, every: SignedDuration, count: i64) -> Option<Timestamp> {
    let seconds = every.as_secs().checked_mul(count)?;
    since.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn when(cron: &str, zone: &str, every: u64, jitter: u64) -> When {
        let plan = Plan {
            cron: cron.to_owned(),
            zone: zone.to_owned(),
            every_seconds: every,
            jitter_seconds: jitter,
            ..Plan::default()
        };
        When::of(&plan).expect("a legal plan")
    }

    #[test]
    fn newest_and_next() {
        let since = time("2026-11-01T00:00:00Z");
        for (when, now, newest, next) in [
            (
                when("0 3 * * *", "", 0, 0),
                "2026-11-21T12:00:00Z",
                "2026-11-21T03:00:00Z",
                "2026-11-22T03:00:00Z",
            ),
            (
                when("0 3 * * *", "", 0, 0),
                "2026-11-21T03:00:00Z",
                "2026-11-21T03:00:00Z",
                "2026-11-22T03:00:00Z",
            ),
            // Mondays, in winter time.
            (
                when("30 1 * * 1", "Europe/Berlin", 0, 0),
                "2026-11-21T12:00:00Z",
                "2026-11-16T00:30:00Z",
                "2026-11-23T00:30:00Z",
            ),
            (
                when("", "", 6 * 3600, 0),
                "2026-11-01T13:00:00Z",
                "2026-11-01T12:00:00Z",
                "2026-11-01T18:00:00Z",
            ),
        ] {
            let now = time(now);
            assert_eq!(when.newest(since, now), Some(time(newest)), "{when:?}");
            assert_eq!(when.next(since, now), Some(time(next)), "{when:?}");
        }
        // Nothing was due before there was a schedule.
        let daily = when("0 3 * * *", "", 0, 0);
        assert_eq!(daily.newest(since, time("2026-11-01T02:00:00Z")), None);
        let often = when("", "", 3600, 0);
        assert_eq!(often.newest(since, time("2026-11-01T00:59:59Z")), None);
    }

    #[test]
    fn clocks_that_are_changed_leave_out_no_day() {
        let when = when("30 2 * * *", "Europe/Berlin", 0, 0);
        let mut at = time("2026-03-27T12:00:00Z");
        let mut days = Vec::new();
        for _ in 0..4 {
            at = when.next(at, at).expect("there is a next day");
            days.push(at.strftime("%m-%d").to_string());
        }
        assert_eq!(days, ["03-28", "03-29", "03-30", "03-31"]);
    }

    #[test]
    fn jitter_is_steady_and_bounded() {
        let hourly = when("", "", 3600, 900);
        let since = time("2026-11-01T00:00:00Z");
        let begins: Vec<Timestamp> = (1..50)
            .map(|hour| {
                let due = multiple(since, SignedDuration::from_hours(1), hour).expect("in range");
                let begin = hourly.begin("nightly", since, due);
                assert_eq!(begin, hourly.begin("nightly", since, due));
                assert!(begin >= due && begin.duration_since(due) < SignedDuration::from_secs(900));
                begin
            })
            .collect();
        assert!(
            begins
                .windows(2)
                .any(|pair| { pair[1].duration_since(pair[0]) != SignedDuration::from_hours(1) })
        );
        // Never into the next one.
        let wide = when("", "", 10, 900);
        let due = since + SignedDuration::from_secs(10);
        assert!(wide.begin("x", since, due).duration_since(due) <= SignedDuration::from_secs(5));
    }

    #[test]
    fn nonsense_is_refused() {
        for (cron, zone, every, part) in [
            ("", "", 0, "when"),
            ("0 3 * * *", "", 60, "not both"),
            ("61 * * * *", "", 0, "61 * * * *"),
            ("x", "", 0, "\"x\""),
            ("0 3 * * *", "Mars/Olympus", 0, "Mars/Olympus"),
            ("", "", u64::MAX, "period"),
        ] {
            let plan = Plan {
                cron: cron.to_owned(),
                zone: zone.to_owned(),
                every_seconds: every,
                ..Plan::default()
            };
            let error = When::of(&plan).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

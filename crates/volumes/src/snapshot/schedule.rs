//! Schedules: which snapshots of a volume are made by themselves, and which of those are given up again.
//!
//! A policy has classes: hourly, daily, weekly, monthly. A class is due once in each of its periods; a snapshot that
//! several classes are due for is made once and counts for each of them. Of each class the newest so many are kept; a
//! scheduled snapshot that no class keeps any more goes. What somebody made by hand, or pinned, is never counted.
//!
//! Periods that passed while nobody was there are not made up for: the next look makes one snapshot. All times are UTC.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Snapshot, SnapshotError};
use crate::Volumes;

/// Why a schedule's snapshots were made.
pub const REASON: &str = "schedule";
/// The label that says which classes a snapshot counts for.
pub const CLASSES: &str = "orlop.schedule";

/// After a snapshot that could not be made.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// When snapshots are made, and how many of them are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Policy {
    pub hourly: usize,
    pub daily: usize,
    pub weekly: usize,
    pub monthly: usize,
    /// `HH:MM`: when a day begins for all classes but the hourly one, which takes the minutes.
    pub at: String,
    /// As for a snapshot that is made by hand; empty: as its default.
    pub consistency: String,
    pub hook: String,
    pub pre: String,
    pub post: String,
    /// How long a command may take; `None`: as its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_timeout_seconds: Option<u64>,
}

/// A volume's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub volume: String,
    pub policy: Policy,
    pub last_run: Option<String>,
    /// What went wrong since; `None`: nothing.
    pub failure: Option<Failure>,
}

/// What went wrong with a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Failure {
    /// RFC 3339.
    pub at: String,
    pub error: String,
    /// So often in a row.
    pub times: u32,
    /// The snapshot that was made all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

impl Failure {
    /// When what was not made is tried again; `None`: nothing has to be.
    pub fn retry_at(&self) -> Option<Timestamp> {
        if self.made.is_some() {
            return None;
        }
        self.at.parse::<Timestamp>().ok()?.checked_add(AGAIN).ok()
    }
}

impl Schedule {
    fn last(&self) -> Option<Timestamp> {
        self.last_run.as_deref()?.parse().ok()
    }

    /// The classes that a snapshot shall be made for at `now`.
    ///
    /// # Errors
    /// [`SnapshotError::Policy`].
    pub fn due(&self, now: Timestamp) -> Result<Vec<&'static str>, SnapshotError> {
        let retry_at = self.failure.as_ref().and_then(Failure::retry_at);
        // A clock that was set back must not keep it waiting for long.
        if retry_at.is_some_and(|time| now < time && time.duration_since(now) <= AGAIN) {
            return Ok(Vec::new());
        }
        self.policy.due(self.last(), now)
    }

    /// When the next snapshot is made, as it looks at `now`.
    ///
    /// # Errors
    /// [`SnapshotError::Policy`].
    pub fn next_run(&self, now: Timestamp) -> Result<Timestamp, SnapshotError> {
        if self.policy.due(self.last(), now)?.is_empty() {
            return self.policy.next(now);
        }
        let retry_at = self.failure.as_ref().and_then(Failure::retry_at);
        Ok(retry_at.unwrap_or(now).max(now))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Hourly,
    Daily,
    Weekly,
    Monthly,
}

const CLASS_NAMES: [(Class, &str); 4] = [
    (Class::Hourly, "hourly"),
    (Class::Daily, "daily"),
    (Class::Weekly, "weekly"),
    (Class::Monthly, "monthly"),
];

impl Policy {
    /// Refuses a policy that says nothing or nonsense.
    ///
    /// # Errors
    /// [`SnapshotError::Policy`].
    pub fn check(&self) -> Result<(), SnapshotError> {
        if CLASS_NAMES.iter().all(|(class, _)| self.keeps(*class) == 0) {
            return Err(SnapshotError::Policy(
                "a schedule keeps at least one hourly, daily, weekly or monthly snapshot"
                    .to_owned(),
            ));
        }
        self.time().map(drop)
    }

    fn keeps(&self, class: Class) -> usize {
        match class {
            Class::Hourly => self.hourly,
            Class::Daily => self.daily,
            Class::Weekly => self.weekly,
            Class::Monthly => self.monthly,
        }
    }

    fn time(&self) -> Result<Time, SnapshotError> {
        if self.at.is_empty() {
            return Ok(Time::midnight());
        }
        Time::strptime("%H:%M", &self.at)
            .map_err(|_| SnapshotError::Policy(format!("invalid time {:?}: write HH:MM", self.at)))
    }

    /// The classes that a snapshot is due for at `now`, by name, `last` being the time of the last one.
    ///
    /// # Errors
    /// [`SnapshotError::Policy`].
    pub fn due(
        &self,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, SnapshotError> {
        let mut due = Vec::new();
        for (class, name) in CLASS_NAMES {
            if self.keeps(class) > 0 {
                let began = self.period_start(class, now)?;
                if last.is_none_or(|last| last < began) {
                    due.push(name);
                }
            }
        }
        Ok(due)
    }

    /// When the first period after `now` begins.
    fn next(&self, now: Timestamp) -> Result<Timestamp, SnapshotError> {
        let mut next = Timestamp::MAX;
        for (class, _) in CLASS_NAMES {
            if self.keeps(class) > 0 {
                next = next.min(self.period(class, now)?.1);
            }
        }
        Ok(next)
    }

    /// When the period of `class` began in which `now` is.
    fn period_start(&self, class: Class, now: Timestamp) -> Result<Timestamp, SnapshotError> {
        Ok(self.period(class, now)?.0)
    }

    /// The period of `class` in which `now` is, and when the next one begins.
    fn period(
        &self,
        class: Class,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), SnapshotError> {
        let at = self.time()?;
        let here = now.to_zoned(TimeZone::UTC).datetime();
        let midnight = here.date();
        let (start, period) = match class {
            Class::Hourly => (
                midnight.at(here.hour(), at.minute(), 0, 0),
                Span::new().hours(1),
            ),
            Class::Daily => (midnight.to_datetime(at), Span::new().days(1)),
            Class::Weekly => {
                let since = i64::from(midnight.weekday().to_monday_zero_offset());
                let monday = midnight.saturating_sub(Span::new().days(since));
                (monday.to_datetime(at), Span::new().weeks(1))
            }
            Class::Monthly => (
                midnight.first_of_month().to_datetime(at),
                Span::new().months(1),
            ),
        };
        let start = if start > here {
            start.saturating_sub(period)
        } else {
            start
        };
        let moment = |time: DateTime| {
            time.to_zoned(TimeZone::UTC)
                .map(|zoned| zoned.timestamp())
                .map_err(|error| SnapshotError::Policy(error.to_string()))
        };
        Ok((moment(start)?, moment(start.saturating_add(period))?))
    }

    /// Those of a volume's snapshots, oldest first, that this policy made and keeps no longer.
    pub fn surplus<'s>(&self, snapshots: &'s [Snapshot]) -> Vec<&'s Snapshot> {
        let scheduled: Vec<&Snapshot> = snapshots
            .iter()
            .filter(|snapshot| snapshot.reason == REASON && !snapshot.pinned)
            .collect();
        let mut kept = BTreeSet::new();
        for (class, name) in CLASS_NAMES {
            let newest = scheduled
                .iter()
                .rev()
                .filter(|snapshot| {
                    snapshot
                        .labels
                        .get(CLASSES)
                        .is_some_and(|classes| classes.split(',').any(|class| class == name))
                })
                .take(self.keeps(class));
            kept.extend(newest.map(|snapshot| snapshot.id.clone()));
        }
        scheduled
            .into_iter()
            .filter(|snapshot| !kept.contains(&snapshot.id))
            .collect()
    }
}

/// As its flags say it: `hourly 24, daily 7, at 02:30, hook postgresql`. Commands are not shown: they may hold passwords.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = CLASS_NAMES
            .into_iter()
            .map(|(class, name)| (name, self.keeps(class)));
        let mut parts: Vec<String> = classes
            .filter(|(_, keeps)| *keeps > 0)
            .map(|(name, keeps)| format!("{name} {keeps}"))
            .collect();
        for (name, value) in [
            ("at", &self.at),
            ("consistency", &self.consistency),
            ("hook", &self.hook),
        ] {
            if !value.is_empty() {
                parts.push(format!("{name} {value}"));
            }
        }
        for (name, command) in [("pre", &self.pre), ("post", &self.post)] {
            if !command.is_empty() {
                parts.push(format!("{name} command"));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// Whether a snapshot's time is over.
pub fn is_expired(snapshot: &Snapshot, now: Timestamp) -> bool {
    !snapshot.pinned
        && snapshot
            .expires_at
            .as_deref()
            .and_then(|time| time.parse::<Timestamp>().ok())
            .is_some_and(|time| time <= now)
}

impl Volumes {
    /// Gives a volume a schedule, in place of the one it may have.
    ///
    /// # Errors
    /// [`SnapshotError::Policy`], [`SnapshotError::Elsewhere`], those of the volume.
    pub fn set_schedule(&self, volume: &str, policy: &Policy) -> Result<(), SnapshotError> {
        policy.check()?;
        let row = self.row(volume)?;
        self.sharing_of(&row)?;
        let text = serde_json::to_string(policy).expect("plain data serialises");
        self.store.write(|tx| {
            tx.set_schedule(&row.id, &text)?;
            let now = Timestamp::now().to_string();
            tx.insert_volume_event(&row.id, &now, "schedule", &policy.to_string())
        })?;
        self.describe(&row.id);
        Ok(())
    }

    /// Takes a volume's schedule away; the snapshots that it made stay.
    ///
    /// # Errors
    /// [`SnapshotError::NoSchedule`], those of the volume.
    pub fn remove_schedule(&self, volume: &str) -> Result<(), SnapshotError> {
        let row = self.row(volume)?;
        if !self
            .store
            .read(|tx| tx.schedules())?
            .iter()
            .any(|schedule| schedule.volume == row.id)
        {
            return Err(SnapshotError::NoSchedule(row.name));
        }
        self.store.write(|tx| {
            tx.delete_schedule(&row.id)?;
            let now = Timestamp::now().to_string();
            tx.insert_volume_event(&row.id, &now, "schedule_rm", "")
        })?;
        self.describe(&row.id);
        Ok(())
    }

    /// The schedules of all volumes that exist, by name of the volume.
    ///
    /// # Errors
    /// [`SnapshotError::Store`], also for a policy that cannot be read.
    pub fn schedules(&self) -> Result<Vec<Schedule>, SnapshotError> {
        let (volumes, rows) = self.store.read(|tx| {
            let volumes: BTreeMap<_, _> = tx
                .volumes()?
                .into_iter()
                .map(|row| (row.id, row.name))
                .collect();
            Ok::<_, SnapshotError>((volumes, tx.schedules()?))
        })?;
        let mut schedules = Vec::new();
        for row in rows {
            let Some(volume) = volumes.get(&row.volume) else {
                continue;
            };
            let policy =
                serde_json::from_str(&row.policy).map_err(|_| store::StoreError::Unreadable {
                    table: "snapshot_schedules",
                    id: row.volume.to_string(),
                    column: "policy",
                })?;
            schedules.push(Schedule {
                volume: volume.clone(),
                policy,
                last_run: row.last_run,
                failure: row
                    .failure
                    .and_then(|text| serde_json::from_str(&text).ok()),
            });
        }
        schedules.sort_by(|a, b| a.volume.cmp(&b.volume));
        Ok(schedules)
    }

    /// Notes what went wrong with a volume's schedule.
    ///
    /// # Errors
    /// Those of the volume.
    pub fn schedule_failed(&self, volume: &str, failure: &Failure) -> Result<(), SnapshotError> {
        let row = self.row(volume)?;
        let text = serde_json::to_string(failure).expect("plain data serialises");
        Ok(self.store.write(|tx| tx.schedule_failed(&row.id, &text))?)
    }
}

#[cfg(test)]
mod tests {
    use store::SnapshotId;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn a_class_is_due_once_in_each_of_its_periods() {
        let policy = Policy {
            hourly: 2,
            daily: 2,
            weekly: 1,
            monthly: 1,
            at: "02:30".to_owned(),
            ..Policy::default()
        };
        for (last, now, due) in [
            (None, "2026-11-18T12:00:00Z", "hourly,daily,weekly,monthly"),
            // A Wednesday.
            (Some("2026-11-18T11:45:00Z"), "2026-11-18T12:29:59Z", ""),
            (
                Some("2026-11-18T11:45:00Z"),
                "2026-11-18T12:30:00Z",
                "hourly",
            ),
            (
                Some("2026-11-18T02:29:00Z"),
                "2026-11-18T02:30:00Z",
                "hourly,daily",
            ),
            // Monday, and what was missed for days is made once.
            (
                Some("2026-11-20T02:29:00Z"),
                "2026-11-23T02:29:00Z",
                "hourly,daily",
            ),
            (
                Some("2026-11-20T02:29:00Z"),
                "2026-11-23T02:31:00Z",
                "hourly,daily,weekly",
            ),
            (
                Some("2026-11-30T23:00:00Z"),
                "2026-12-01T01:00:00Z",
                "hourly",
            ),
            (
                Some("2026-12-01T02:00:00Z"),
                "2026-12-01T02:30:00Z",
                "hourly,daily,monthly",
            ),
        ] {
            let found = policy
                .due(last.map(time), time(now))
                .expect("a legal policy");
            assert_eq!(found.join(","), due, "{last:?} {now}");
        }
    }

    #[test]
    fn the_next_run_is_told() {
        let mut schedule = Schedule {
            volume: "v".to_owned(),
            policy: Policy {
                daily: 2,
                monthly: 1,
                at: "02:30".to_owned(),
                ..Policy::default()
            },
            last_run: Some("2026-11-30T12:00:00Z".to_owned()),
            failure: None,
        };
        let now = time("2026-11-30T13:00:00Z");
        let next = |schedule: &Schedule, now| schedule.next_run(now).expect("a legal policy");
        assert_eq!(next(&schedule, now), time("2026-12-01T02:30:00Z"));
        schedule.policy.daily = 0;
        let later = time("2026-12-01T02:29:00Z");
        assert_eq!(next(&schedule, later), time("2026-12-01T02:30:00Z"));
        // It is due; and after a failure some minutes later.
        schedule.last_run = None;
        assert_eq!(next(&schedule, now), now);
        schedule.failure = Some(Failure {
            at: "2026-11-30T12:58:00Z".to_owned(),
            ..Failure::default()
        });
        assert_eq!(next(&schedule, now), time("2026-11-30T13:03:00Z"));
        assert!(schedule.due(now).expect("a legal policy").is_empty());
        let again = time("2026-11-30T13:03:00Z");
        assert_eq!(schedule.due(again).expect("a legal policy"), ["monthly"]);
        let set_back = time("2026-11-29T13:00:00Z");
        assert_eq!(schedule.due(set_back).expect("a legal policy"), ["monthly"]);
    }

    #[test]
    fn policies_are_checked() {
        Policy::default().check().expect_err("keeps nothing");
        let at = |at: &str| Policy {
            daily: 1,
            at: at.to_owned(),
            ..Policy::default()
        };
        at("").check().expect("midnight");
        at("23:59").check().expect("a time");
        for bad in ["24:00", "x", "1", "12:60"] {
            at(bad).check().expect_err(bad);
        }
    }

    #[test]
    fn each_class_keeps_its_newest() {
        let snapshot = |number: usize, classes: &str, reason: &str, pinned| Snapshot {
            id: SnapshotId::random(),
            volume: "v".to_owned(),
            name: number.to_string(),
            created_at: String::new(),
            labels: [(CLASSES.to_owned(), classes.to_owned())].into(),
            reason: reason.to_owned(),
            consistency: String::new(),
            group: None,
            expires_at: None,
            pinned,
            size: None,
            path: std::path::PathBuf::new(),
            holders: Vec::new(),
        };
        let policy = Policy {
            hourly: 2,
            daily: 2,
            ..Policy::default()
        };
        let all = [
            snapshot(0, "hourly,daily", REASON, false),
            snapshot(1, "hourly,daily", REASON, false),
            snapshot(2, "hourly", "manual", false),
            snapshot(3, "hourly", REASON, true),
            snapshot(4, "hourly", REASON, false),
            snapshot(5, "hourly,daily", REASON, false),
            snapshot(6, "hourly", REASON, false),
        ];
        let names: Vec<&str> = policy
            .surplus(&all)
            .iter()
            .map(|snapshot| snapshot.name.as_str())
            .collect();
        assert_eq!(names, ["0", "4"]);
    }
}

//! Which backups are kept: the newest of each hour, day, week …, as restic's `forget` counts them.
//!
//! Counted for each host and volume by itself, from the newest backup on. A rule of N keeps the newest backup of each of
//! the N latest periods in which there is any; what no rule keeps goes. Periods are those of UTC.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Keep {
    pub last: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
    pub yearly: u32,
    /// Seconds: everything that is not older than this, counted from the newest.
    pub within_seconds: u64,
    /// Everything with one of these tags.
    pub tags: Vec<String>,
}

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) time: Timestamp,
    pub(super) tags: &'a [String],
}

impl Keep {
    /// Whether it would keep nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether each is kept; the candidates are those of one host and volume, newest first.
    pub(super) fn kept(&self, candidates: &[Candidate<'_>]) -> Vec<bool> {
        // How many periods, which were seen, and what tells one from the next.
        let mut rules = [
            (self.hourly, BTreeSet::new(), "%Y-%m-%dT%H"),
            (self.daily, BTreeSet::new(), "%Y-%m-%d"),
            (self.weekly, BTreeSet::new(), "%G-%V"),
            (self.monthly, BTreeSet::new(), "%Y-%m"),
            (self.yearly, BTreeSet::new(), "%Y"),
        ];
        let newest = candidates.first().map(|candidate| candidate.time);
        let within = i64::try_from(self.within_seconds).unwrap_or(i64::MAX);
        let mut kept = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            let mut keep = u32::try_from(index).is_ok_and(|index| index < self.last);
            keep |= self
                .tags
                .iter()
                .any(|tag| candidate.tags.iter().any(|known| known == tag));
            keep |= within > 0
                && newest.is_some_and(|newest| {
                    newest.duration_since(candidate.time) <= SignedDuration::from_secs(within)
                });
            for (count, seen, format) in &mut rules {
                let room = u32::try_from(seen.len()).is_ok_and(|seen| seen < *count);
                if room && seen.insert(period(candidate.time, format)) {
                    keep = true;
                }
            }
            kept.push(keep);
        }
        kept
    }
}

fn period(time: Timestamp, format: &str) -> String {
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(keep: &Keep, times: &[&str]) -> Vec<usize> {
        let candidates: Vec<Candidate<'_>> = times
            .iter()
            .map(|time| Candidate {
                time: time.parse().unwrap(),
                tags: &[],
            })
            .collect();
        keep.kept(&candidates)
            .iter()
            .enumerate()
            .filter_map(|(index, kept)| kept.then_some(index))
            .collect()
    }

    const TIMES: &[&str] = &[
        "2026-11-21T12:30:00Z",
        "2026-11-21T12:10:00Z",
        "2026-11-21T11:00:00Z",
        "2026-11-20T11:00:00Z",
        "2026-11-15T11:00:00Z",
        "2026-10-31T11:00:00Z",
        "2025-12-31T11:00:00Z",
    ];

    #[test]
    fn the_newest_of_each_period() {
        let rule = |set: fn(&mut Keep)| {
            let mut keep = Keep::default();
            set(&mut keep);
            kept(&keep, TIMES)
        };
        assert_eq!(rule(|_| {}), Vec::<usize>::new());
        assert_eq!(rule(|keep| keep.last = 2), [0, 1]);
        assert_eq!(rule(|keep| keep.hourly = 2), [0, 2]);
        assert_eq!(rule(|keep| keep.daily = 3), [0, 3, 4]);
        // 15 November 2026 is a Sunday, and ends a week.
        assert_eq!(rule(|keep| keep.weekly = 2), [0, 4]);
        assert_eq!(rule(|keep| keep.monthly = 3), [0, 5, 6]);
        assert_eq!(rule(|keep| keep.yearly = 9), [0, 6]);
        assert_eq!(rule(|keep| keep.within_seconds = 86_400), [0, 1, 2]);
        assert_eq!(
            rule(|keep| {
                keep.last = 1;
                keep.monthly = 2;
            }),
            [0, 5]
        );
    }

    #[test]
    fn tags_keep() {
        let tag = ["gold".to_owned()];
        let candidates = [
            Candidate {
                time: Timestamp::UNIX_EPOCH,
                tags: &[],
            },
            Candidate {
                time: Timestamp::UNIX_EPOCH,
                tags: &tag,
            },
        ];
        let keep = Keep {
            tags: tag.to_vec(),
            ..Keep::default()
        };
        assert_eq!(keep.kept(&candidates), [false, true]);
    }
}

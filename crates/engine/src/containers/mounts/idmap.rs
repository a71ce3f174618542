//! `idmap`: what users write about the owners of a mount.
//!
//! | text | meaning |
//! |---|---|
//! | `match-user` | the owner of the source and the container's user change places |
//! | `match-user:USER` | the same with another user: a name or number of the container's |
//! | `uids=S-T-N#S-T-N;gids=S-T-N` | N ids from S on (on the filesystem) appear as those from T on; without `gids` both are mapped alike |

use shim_protocol::spec::{IdMap, IdRange};

const FORMS: &str =
    "must be match-user, match-user:USER, or uids=SOURCE-TARGET-COUNT[#...][;gids=...]";

/// Reads it; the error says what is wrong.
pub(super) fn parse(text: &str) -> Result<IdMap, String> {
    let invalid = || format!("invalid idmap '{text}': {FORMS}");
    if let Some(rest) = text.strip_prefix("match-user") {
        return match rest.strip_prefix(':') {
            None if rest.is_empty() => Ok(IdMap::MatchUser(None)),
            Some(user) if !user.is_empty() => Ok(IdMap::MatchUser(Some(user.to_owned()))),
            _ => Err(invalid()),
        };
    }
    let (mut uids, mut gids) = (None, None);
    for part in text.split(';') {
        let (key, list) = part.split_once('=').ok_or_else(invalid)?;
        let place = match key {
            "uids" => &mut uids,
            "gids" => &mut gids,
            _ => return Err(invalid()),
        };
        if place.is_some() {
            return Err(invalid());
        }
        *place = Some(ranges(list).ok_or_else(invalid)?);
    }
    match (uids, gids) {
        (Some(uids), gids) => Ok(IdMap::Ranges {
            gids: gids.unwrap_or_else(|| uids.clone()),
            uids,
        }),
        (None, _) => Err(invalid()),
    }
}

/// The kernel takes so many in one map.
const MOST: usize = 340;

fn ranges(list: &str) -> Option<Vec<IdRange>> {
    let ranges: Vec<IdRange> = list
        .split('#')
        .map(|range| {
            let mut numbers = range.split('-').map(|number| number.parse::<u32>().ok());
            let range = IdRange {
                source: numbers.next()??,
                target: numbers.next()??,
                count: numbers.next()??,
            };
            let fits = |first: u32| first.checked_add(range.count).is_some();
            (numbers.next().is_none()
                && range.count > 0
                && fits(range.source)
                && fits(range.target))
            .then_some(range)
        })
        .collect::<Option<_>>()?;
    let overlap = |first: fn(&IdRange) -> u32| {
        ranges.iter().enumerate().any(|(index, one)| {
            ranges[..index].iter().any(|other| {
                first(one) < first(other) + other.count && first(other) < first(one) + one.count
            })
        })
    };
    let alone = !overlap(|range| range.source) && !overlap(|range| range.target);
    (ranges.len() <= MOST && alone).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let range = |source, target, count| IdRange {
            source,
            target,
            count,
        };
        assert_eq!(parse("match-user"), Ok(IdMap::MatchUser(None)));
        assert_eq!(
            parse("match-user:www"),
            Ok(IdMap::MatchUser(Some("www".to_owned())))
        );
        assert_eq!(
            parse("uids=1000-0-1"),
            Ok(IdMap::Ranges {
                uids: vec![range(1000, 0, 1)],
                gids: vec![range(1000, 0, 1)],
            })
        );
        assert_eq!(
            parse("uids=0-1-10#10-11-10;gids=0-100-10"),
            Ok(IdMap::Ranges {
                uids: vec![range(0, 1, 10), range(10, 11, 10)],
                gids: vec![range(0, 100, 10)],
            })
        );
        for text in [
            "",
            "true",
            "match-user:",
            "match-users",
            "uids=",
            "gids=0-0-1",
            "uids=0-0",
            "uids=0-0-0",
            "uids=0-0-1-1",
            "uids=a-0-1",
            "uids=0-0-1;uids=0-0-1",
            "uids=4294967295-0-2",
            "uids=0-0-10#5-20-1",
            "uids=0-0-10#20-5-1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

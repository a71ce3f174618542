//! What of the trash goes before its time: filesystem by filesystem, as room on one is no use to another.
//!
//! * Beyond the policy's limit the oldest go, see [`super`].
//! * Where next to nothing is free ([`is_full`]) the oldest go until that has changed. Nothing goes so within [`SECOND_THOUGHTS`]
//!   of its removal, whatever else fails meanwhile: who slipped on a full disk has that long.
//!
//! What a filesystem gives back it may give back later (btrfs does so with its next commits): who went counts as room, and
//! the next one goes for that reason when [`REST`] has passed.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use store::TrashRow;

use super::{TrashLimit, TrashPolicy};
use crate::{VolumeError, Volumes, open_directory};

/// Percent of a filesystem.
const SCARCE: u64 = 10;
/// Less is full: filesystems get slow, and what is written between two looks fills the rest.
const FULL: u64 = 2;
/// So much is room whatever the size of the filesystem.
const PLENTY: u64 = 1 << 30;
const SECOND_THOUGHTS: SignedDuration = SignedDuration::from_secs(60);
/// A commit of btrfs comes every 30 seconds.
const REST: Duration = Duration::from_secs(40);
/// Between two looks at how full filesystems are that have something in the trash.
const LOOK: SignedDuration = SignedDuration::from_secs(10);
const LOOK_CLOSELY: SignedDuration = SignedDuration::from_secs(1);

/// One filesystem, by what it is known by wherever it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Filesystem {
    Uuid([u8; 16]),
    /// One without a UUID.
    Device(u64),
}

/// When something went last because a filesystem was full.
pub(crate) type Rests = BTreeMap<Filesystem, Instant>;

/// Why a volume left the trash before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Limit,
    Full,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Full => "full",
        }
    }
}

/// Bytes of a filesystem.
#[derive(Debug, Clone, Copy)]
struct Space {
    size: u64,
    free: u64,
}

impl Space {
    fn of(path: &Path) -> Result<Self, VolumeError> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|error| VolumeError::io("measure", path)(error.into()))?;
        Ok(Self {
            size: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn limit(self, policy: TrashPolicy) -> u64 {
        match policy.limit {
            TrashLimit::Bytes(bytes) => bytes,
            TrashLimit::Percent(percent) => self.size / 100 * u64::from(percent),
        }
    }

    fn is_scarce(self) -> bool {
        self.free < self.size / 100 * SCARCE
    }

    /// What is missing for it not to be full; `None`: it is not.
    fn missing(self) -> Option<u64> {
        let least = (self.size / 100 * FULL).min(PLENTY);
        (self.free < least).then(|| least - self.free)
    }
}

/// What goes, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) gone: Vec<(TrashRow, Why)>,
    pub(super) look_again: Option<Timestamp>,
}

impl Volumes {
    /// Of these, oldest first, what goes before its time.
    pub(super) fn judge_trash(
        &self,
        rows: Vec<TrashRow>,
        now: Timestamp,
    ) -> Result<Verdict, VolumeError> {
        let policy = self.trash_policy()?;
        let mut filesystems: BTreeMap<Filesystem, (PathBuf, Vec<TrashRow>)> = BTreeMap::new();
        for row in rows {
            // What lies on a disk that is not there makes no room on another.
            let Some((filesystem, place)) = self.place_of_trash(&row)? else {
                continue;
            };
            filesystems
                .entry(filesystem)
                .or_insert_with(|| (place, Vec::new()))
                .1
                .push(row);
        }
        let mut verdict = Verdict::default();
        for (filesystem, (place, rows)) in filesystems {
            let space = Space::of(&place)?;
            let pause = if space.is_scarce() {
                LOOK_CLOSELY
            } else {
                LOOK
            };
            let look = now.checked_add(pause).unwrap_or(Timestamp::MAX);
            let first = verdict.look_again.map_or(look, |first| first.min(look));
            verdict.look_again = Some(first);
            let sizes: Vec<u64> = rows.iter().map(|row| row.bytes.unwrap_or(0)).collect();
            let mut gone: BTreeMap<usize, Why> =
                beyond(&sizes, space.limit(policy), space.is_scarce())
                    .into_iter()
                    .map(|index| (index, Why::Limit))
                    .collect();
            if let Some(missing) = space.missing()
                && self.may_make_room(&filesystem)
            {
                let is_settled: Vec<bool> = rows.iter().map(|row| is_settled(row, now)).collect();
                let already = gone.keys().map(|&index| sizes[index]).sum();
                let more = for_room(
                    &sizes,
                    &is_settled,
                    missing.saturating_sub(already),
                    |index| gone.contains_key(&index),
                );
                if !more.is_empty() {
                    self.trash_rests().insert(filesystem, Instant::now());
                }
                gone.extend(more.into_iter().map(|index| (index, Why::Full)));
            }
            let gone = rows
                .into_iter()
                .enumerate()
                .filter_map(|(index, row)| Some((row, *gone.get(&index)?)));
            verdict.gone.extend(gone);
        }
        Ok(verdict)
    }

    /// The filesystem on which a volume of the trash lies, and a place on it; `None`: it is not there.
    fn place_of_trash(&self, row: &TrashRow) -> Result<Option<(Filesystem, PathBuf)>, VolumeError> {
        let id = &row.volume.id;
        let pool = self.store.read(|tx| tx.volume_storage(id))?.pool;
        let place = match &pool {
            Some(pool) if !self.is_up_pool(pool) => return Ok(None),
            Some(pool) => self.paths.pool_volumes(pool),
            None => self.paths.data(),
        };
        let look = || -> std::io::Result<Filesystem> {
            let place = open_directory(&place)?;
            Ok(match sys::uuid::of_filesystem(place.as_fd())? {
                Some(uuid) => Filesystem::Uuid(uuid),
                None => Filesystem::Device(sys::dir::stat(place.as_fd())?.dev),
            })
        };
        match look() {
            Ok(filesystem) => Ok(Some((filesystem, place))),
            Err(error) => {
                tracing::warn!(volume = row.volume.name, %error, "where it lies cannot be looked at");
                Ok(None)
            }
        }
    }

    /// Whether what went before has had time to become room.
    fn may_make_room(&self, filesystem: &Filesystem) -> bool {
        let rests = self.trash_rests();
        rests
            .get(filesystem)
            .is_none_or(|since| since.elapsed() > REST)
    }

    fn trash_rests(&self) -> std::sync::MutexGuard<'_, Rests> {
        self.trash_rests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who removed it has had time to think. A time that cannot be read never comes.
fn is_settled(row: &TrashRow, now: Timestamp) -> bool {
    let at: Timestamp = row.trashed_at.parse().unwrap_or(Timestamp::MAX);
    at.duration_until(now) >= SECOND_THOUGHTS
}

/// Which of these, oldest first, go so that the others keep within `limit`.
fn beyond(sizes: &[u64], limit: u64, scarce: bool) -> Vec<usize> {
    let counted: Vec<usize> = (0..sizes.len())
        .filter(|&index| scarce || sizes[index] <= limit)
        .collect();
    let mut total: u64 = counted.iter().map(|&index| sizes[index]).sum();
    counted
        .into_iter()
        .take_while(|&index| {
            let over = total > limit;
            total = total.saturating_sub(sizes[index]);
            over
        })
        .collect()
}

/// Which of these, oldest first, go so that so many bytes become free. One of which nobody knows the size is the last one.
fn for_room(
    sizes: &[u64],
    is_settled: &[bool],
    missing: u64,
    is_gone: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut left = missing;
    let mut gone = Vec::new();
    for index in (0..sizes.len()).filter(|&index| is_settled[index] && !is_gone(index)) {
        if left == 0 {
            break;
        }
        gone.push(index);
        left = match sizes[index] {
            0 => 0,
            size => left.saturating_sub(size),
        };
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_limit_takes() {
        for (sizes, limit, scarce, gone) in [
            (&[1, 2, 3][..], 6, false, &[][..]),
            (&[1, 2, 3], 5, false, &[0]),
            (&[1, 2, 3], 4, false, &[0, 1]),
            // Larger than all the limit: left alone while there is room.
            (&[9, 2, 3], 5, false, &[]),
            (&[9, 2, 3], 4, false, &[1]),
            (&[9, 2, 3], 5, true, &[0]),
            (&[], 0, true, &[]),
            (&[1], 0, true, &[0]),
        ] {
            assert_eq!(beyond(sizes, limit, scarce), gone, "{sizes:?} {limit}");
        }
    }

    #[test]
    fn what_a_full_filesystem_takes() {
        for (sizes, settled, missing, gone) in [
            (&[5, 5, 5][..], &[true, true, true][..], 0, &[][..]),
            (&[5, 5, 5], &[true, true, true], 1, &[0]),
            (&[5, 5, 5], &[true, true, true], 6, &[0, 1]),
            (&[5, 5, 5], &[true, true, false], 99, &[0, 1]),
            (&[5, 5, 5], &[false, false, false], 99, &[]),
            // Of unknown size.
            (&[0, 5, 5], &[true, true, true], 99, &[0]),
        ] {
            let taken = for_room(sizes, settled, missing, |_| false);
            assert_eq!(taken, gone, "{sizes:?} {missing}");
        }
        assert_eq!(for_room(&[5, 5], &[true, true], 1, |at| at == 0), [1]);
    }

    #[test]
    fn when_a_filesystem_is_full() {
        let missing = |size: u64, free: u64| Space { size, free }.missing();
        assert_eq!(missing(500 << 20, 11 << 20), None);
        assert_eq!(missing(1000, 15), Some(5));
        // A hundredth of a large one is still a lot.
        assert_eq!(missing(1 << 40, 2 << 30), None);
        assert_eq!(missing(1 << 40, 0), Some(1 << 30));
    }
}

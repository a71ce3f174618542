//! What tells whether a file still holds what was read of it.
//!
//! A change moves the time of the last change of status, which nobody can set. What that time is worth depends on when it was
//! looked at: one that is so young that another change could bear it, too, tells nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sys::dir::{Stat, Time};

/// One tick of the coarsest clock that local filesystems take times from, and some.
const TICK: Duration = Duration::from_millis(100);
/// The grain of filesystems that keep whole seconds.
const SECOND: Duration = Duration::from_secs(2);
/// A write bears the time at which it began, however long it takes. Those that take longest go past the cache, or wait for
/// memory.
const IN_FLIGHT: Duration = Duration::from_secs(10);

/// Who may change a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// This process alone, which does not while it looks.
    Nobody,
    /// Others, who may be writing.
    Others,
}

/// An inode and the state of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Time,
    ctime: Time,
}

impl Stamp {
    /// Of a file whose contents are read from `seen` on; `None` when a change after that could leave the same times.
    pub(crate) fn before(stat: &Stat, seen: SystemTime, writers: Writers) -> Option<Self> {
        let grain = match writers {
            Writers::Others => IN_FLIGHT,
            Writers::Nobody if stat.ctime.nanoseconds == 0 => SECOND,
            Writers::Nobody => TICK,
        };
        let seen = seen.duration_since(UNIX_EPOCH).ok()?;
        let changed = Duration::new(
            u64::try_from(stat.ctime.seconds).ok()?,
            stat.ctime.nanoseconds,
        );
        (changed.checked_add(grain)? < seen).then(|| Self::exactly(stat))
    }

    /// Of a file right after a change that only this process can have made.
    pub(crate) fn exactly(stat: &Stat) -> Self {
        Self {
            dev: stat.dev,
            ino: stat.ino,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    pub(crate) fn fits(&self, stat: &Stat) -> bool {
        *self == Self::exactly(stat)
    }
}

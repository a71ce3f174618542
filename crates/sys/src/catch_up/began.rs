//! The moment at which a copy began, and whether something was changed before or after.

use rustix::time::{ClockId, Timespec};

use super::Seen;
use crate::dir::Time;

/// The clock may have gone so far astray meanwhile, and times of change are behind it by no more.
const SLACK: i128 = 50_000_000;

/// When a copy began, and which directories it has seen.
#[derive(Debug)]
pub struct Began {
    real: i128,
    /// Of the clock that people set from the one that nobody does.
    ahead: i128,
    seen: Seen,
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Both clocks, the second one as what the first is ahead of it.
fn clocks() -> (i128, i128) {
    let real = nanoseconds(rustix::time::clock_gettime(ClockId::Realtime));
    let steady = nanoseconds(rustix::time::clock_gettime(ClockId::Boottime));
    (real, real - steady)
}

impl Began {
    /// To be called before [`crate::copy_tree::copy_tree`], whose options get [`Began::seen`], or before whatever
    /// [`crate::untouched::is_untouched`] shall tell of.
    #[must_use]
    pub fn now() -> Self {
        let (real, ahead) = clocks();
        Self {
            real,
            ahead,
            seen: Seen::default(),
        }
    }

    /// A moment so long after the call that nothing that was done before the call may have been done after it: a tenth of a
    /// second.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "time itself is what is waited for"
    )]
    pub fn after_rest() -> Self {
        let rest = u64::try_from(2 * SLACK).expect("it is a tenth of a second");
        std::thread::sleep(std::time::Duration::from_nanos(rest));
        Self::now()
    }

    /// What the copy notes.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(crate) fn is_before(&self, change: Time) -> bool {
        let since = self.real - 2 * SLACK;
        // There are filesystems, ext4 of small inodes, that know no parts of a second.
        let since = match change.nanoseconds {
            0 => since - since.rem_euclid(1_000_000_000),
            _ => since,
        };
        let change = i128::from(change.seconds) * 1_000_000_000 + i128::from(change.nanoseconds);
        change >= since
    }

    pub(crate) fn clock_was_set(&self) -> bool {
        (clocks().1 - self.ahead).abs() > SLACK
    }
}

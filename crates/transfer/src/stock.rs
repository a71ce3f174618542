//! What a receiver has read of its own files, for as long as they cannot hold anything else.
//!
//! Nobody but the receiver changes its tree. So of a file that it has read, and whose inode, size and times are what they were
//! then, the contents are known; of one that it has changed since, those blocks that it did not touch. Anything that does not
//! fit is forgotten, which costs reading it again and nothing else.

use std::collections::{BTreeSet, HashMap};

use sys::dir::Stat;

use crate::blocks::BLOCK;
use crate::census::{Believed, Counted};
use crate::entry::Digest;
use crate::stamp::{Stamp, Writers};

/// So many blocks are noted one by one when they change at once; of more all that follows counts as changed.
const MOST: u64 = 1 << 16;

/// Contents by device and inode.
#[derive(Debug, Default)]
pub(crate) struct Stock(HashMap<(u64, u64), Kept>);

#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    /// Those that hold anything but zeros.
    blocks: Vec<(u64, Digest)>,
    stale: BTreeSet<u64>,
    /// From this block on nothing is known.
    until: u64,
    /// Being changed by this process: its times move until it says that it is done.
    changing: bool,
}

fn key(stat: &Stat) -> (u64, u64) {
    (stat.dev, stat.ino)
}

impl Stock {
    /// Keeps what was read of a file.
    pub(crate) fn keep(&mut self, counted: Counted) {
        let stat = &counted.found.stat;
        if let Some(stamp) = Stamp::before(stat, counted.looked, Writers::Nobody)
            && counted.entry.is_file()
        {
            let kept = Kept {
                stamp,
                blocks: counted.entry.blocks,
                stale: BTreeSet::new(),
                until: u64::MAX,
                changing: false,
            };
            self.0.insert(key(stat), kept);
        }
    }

    /// What need not be read of a file that looks like this.
    pub(crate) fn believed(&self, stat: &Stat) -> Option<Believed<'_>> {
        let kept = self.0.get(&key(stat))?;
        (!kept.changing && kept.stamp.fits(stat)).then_some(Believed {
            blocks: &kept.blocks,
            stale: Some(&kept.stale),
            until: kept.until,
        })
    }

    /// A new file may have the inode of one that is gone.
    pub(crate) fn forget(&mut self, stat: &Stat) {
        self.0.remove(&key(stat));
    }

    /// This process is going to change the contents of a file that looks like this.
    pub(crate) fn open(&mut self, stat: &Stat) {
        let Some(kept) = self.0.get_mut(&key(stat)) else {
            return;
        };
        if kept.changing || kept.stamp.fits(stat) {
            kept.changing = true;
        } else {
            self.0.remove(&key(stat));
        }
    }

    /// So many bytes there are going to be others, of a file that looks like this.
    pub(crate) fn write(&mut self, stat: &Stat, offset: u64, length: u64) {
        let Some(kept) = self.0.get_mut(&key(stat)) else {
            return;
        };
        let end = offset.saturating_add(length);
        if end > stat.size {
            // The last block becomes longer.
            kept.until = kept.until.min(stat.size / BLOCK as u64);
        }
        let first = offset / BLOCK as u64;
        let last = end.saturating_sub(1).max(offset) / BLOCK as u64;
        if last - first < MOST {
            kept.stale.extend(first..=last);
        } else {
            kept.until = kept.until.min(first);
        }
    }

    /// A file that looks like this is going to be of another size.
    pub(crate) fn resize(&mut self, stat: &Stat, size: u64) {
        if let Some(kept) = self.0.get_mut(&key(stat))
            && stat.size != size
        {
            kept.until = kept.until.min(stat.size.min(size) / BLOCK as u64);
        }
    }

    /// The change is over, and the file looks like this.
    pub(crate) fn close(&mut self, stat: &Stat) {
        if let Some(kept) = self.0.get_mut(&key(stat))
            && kept.changing
        {
            kept.changing = false;
            kept.stamp = Stamp::exactly(stat);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use sys::dir::Time;

    use super::*;
    use crate::entry::{Entry, Meta, Node};
    use crate::path::RelPath;
    use crate::read::Found;

    fn stat(size: u64, nanoseconds: u32) -> Stat {
        let time = Time {
            seconds: 1000,
            nanoseconds,
        };
        Stat {
            dev: 1,
            ino: 2,
            mode: 0o100_644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
        }
    }

    fn counted(stat: Stat, looked: SystemTime) -> Counted {
        let path = RelPath::from_bytes("file");
        Counted {
            entry: Entry {
                path: path.clone(),
                meta: Meta {
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    seconds: 0,
                    nanoseconds: 0,
                    attributes: Vec::new(),
                },
                node: Node::File { size: stat.size },
                blocks: (0..4).map(|index| (index, Digest([1; 32]))).collect(),
            },
            found: Found { path, stat },
            looked,
            read: 0,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const SIZE: u64 = 4 * BLOCK as u64;

    fn known(stock: &Stock, stat: &Stat) -> Vec<u64> {
        let Some(believed) = stock.believed(stat) else {
            return Vec::new();
        };
        (0..8)
            .filter(|&index| believed.digest(index).is_some())
            .collect()
    }

    #[test]
    fn what_was_read_is_known_until_the_file_is_another() {
        let mut stock = Stock::default();
        stock.keep(counted(stat(SIZE, 5), at(1001)));
        assert_eq!(known(&stock, &stat(SIZE, 5)), [0, 1, 2, 3]);
        assert_eq!(known(&stock, &stat(SIZE, 6)), [0_u64; 0]);
        assert_eq!(known(&stock, &stat(SIZE + 1, 5)), [0_u64; 0]);
        // A change that nobody announced.
        stock.open(&stat(SIZE, 6));
        assert_eq!(known(&stock, &stat(SIZE, 5)), [0_u64; 0]);
    }

    #[test]
    fn a_time_that_is_too_young_tells_nothing() {
        for (nanoseconds, looked, kept) in [
            (5, at(1000) + Duration::from_millis(50), false),
            (5, at(1000) + Duration::from_millis(150), true),
            (0, at(1001), false),
            (0, at(1003), true),
        ] {
            let mut stock = Stock::default();
            stock.keep(counted(stat(SIZE, nanoseconds), looked));
            let is_known = stock.believed(&stat(SIZE, nanoseconds)).is_some();
            assert_eq!(is_known, kept, "{nanoseconds} {looked:?}");
        }
        let others = |seconds| Stamp::before(&stat(1, 5), at(seconds), Writers::Others);
        assert!(others(1009).is_none() && others(1011).is_some());
    }

    #[test]
    fn of_what_was_changed_here_the_rest_is_known() {
        let mut stock = Stock::default();
        stock.keep(counted(stat(SIZE, 5), at(1001)));
        stock.open(&stat(SIZE, 5));
        stock.write(&stat(SIZE, 6), BLOCK as u64 - 1, 2);
        stock.resize(&stat(SIZE, 6), SIZE - 1);
        assert!(stock.believed(&stat(SIZE - 1, 7)).is_none());
        stock.close(&stat(SIZE - 1, 7));
        assert_eq!(known(&stock, &stat(SIZE - 1, 7)), [2]);
        // Another one that got its inode.
        stock.forget(&stat(0, 8));
        stock.close(&stat(SIZE - 1, 7));
        assert_eq!(known(&stock, &stat(SIZE - 1, 7)), [0_u64; 0]);
    }

    #[test]
    fn a_file_that_grows_has_another_last_block() {
        let mut stock = Stock::default();
        stock.keep(counted(stat(SIZE - 5, 5), at(1001)));
        stock.open(&stat(SIZE - 5, 5));
        stock.write(&stat(SIZE - 5, 5), 10 * BLOCK as u64, 1);
        stock.close(&stat(SIZE * 3, 9));
        assert_eq!(known(&stock, &stat(SIZE * 3, 9)), [0, 1, 2]);
    }

    #[test]
    fn a_change_without_measure_takes_no_memory() {
        let mut stock = Stock::default();
        stock.keep(counted(stat(SIZE, 5), at(1001)));
        stock.open(&stat(SIZE, 5));
        stock.write(&stat(SIZE, 5), 2 * BLOCK as u64, u64::MAX);
        stock.close(&stat(SIZE, 9));
        assert_eq!(known(&stock, &stat(SIZE, 9)), [0, 1]);
    }
}

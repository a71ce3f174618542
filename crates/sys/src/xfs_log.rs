//! How full the log of an XFS is. When less than a quarter of it is free the kernel writes inodes back until there is more, on one
//! processor and without a pause: nothing to meet while somebody is held.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};

use crate::dir;
use crate::xfs::is_xfs;

/// `XFS_IOC_FSGEOMETRY`.
const GEOMETRY: libc::c_ulong = 0x8100_587E;
/// Places in the log are counted in these, whatever the disk has.
const SECTOR: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);

/// The beginning of the kernel's `struct xfs_fsop_geom`.
#[repr(C)]
struct Geometry {
    block_size: u32,
    before: [u32; 3],
    log_blocks: u32,
    rest: [u32; 59],
}

const _: () = assert!(size_of::<Geometry>() == 256);

/// Waits until a quarter of the log of the filesystem of `root` is free, a second at most; not at all where there is none, or nobody
/// tells.
///
/// # Errors
/// Those of `fstat` and `fstatfs`.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel wakes nobody when it has made room"
)]
pub fn wait_for_room(root: BorrowedFd<'_>) -> io::Result<()> {
    if !is_xfs(root)? {
        return Ok(());
    }
    let Some(log) = Log::of(root)? else {
        return Ok(());
    };
    let end = Instant::now() + PATIENCE;
    while log.used().is_some_and(|used| used > log.sectors / 4 * 3) && Instant::now() < end {
        sleep(PAUSE);
    }
    Ok(())
}

struct Log {
    directory: PathBuf,
    sectors: u64,
}

impl Log {
    fn of(root: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let device = dir::stat(root)?.dev;
        let block = format!("/sys/dev/block/{}:{}", major(device), minor(device));
        let Ok(place) = fs::read_link(block) else {
            return Ok(None);
        };
        let Some(name) = place.file_name() else {
            return Ok(None);
        };
        let mut geometry = Geometry {
            block_size: 0,
            before: [0; 3],
            log_blocks: 0,
            rest: [0; 59],
        };
        // SAFETY: `geometry` has the size of the struct that the request writes, and lives until the call returns.
        if unsafe { libc::ioctl(root.as_raw_fd(), GEOMETRY as _, &raw mut geometry) } != 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            directory: Path::new("/sys/fs/xfs").join(name).join("log"),
            sectors: u64::from(geometry.log_blocks) * u64::from(geometry.block_size) / SECTOR,
        }))
    }

    fn used(&self) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).ok();
        // The tail first: what is freed in between is then counted as used.
        let tail = read("log_tail_lsn")?;
        distance(&tail, &read("log_head_lsn")?, self.sectors)
    }
}

/// Sectors from one place in a log of `sectors` to a later one; places are `round:sector`.
fn distance(from: &str, to: &str, sectors: u64) -> Option<u64> {
    let place = |text: &str| -> Option<u64> {
        let (round, sector) = text.trim().split_once(':')?;
        let rounds = round.parse::<u64>().ok()?.checked_mul(sectors)?;
        rounds.checked_add(sector.parse().ok()?)
    };
    place(to)?.checked_sub(place(from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_log() {
        for (from, to, apart) in [
            ("2:15110\n", "2:36154\n", Some(21044)),
            ("6:129539", "7:121309", Some(122_842)),
            ("1:0", "1:0", Some(0)),
            ("2:0", "1:5", None),
            ("", "1:5", None),
            ("1", "1:5", None),
            ("1:2", "18446744073709551615:5", None),
        ] {
            assert_eq!(distance(from, to, 131_072), apart, "{from} {to}");
        }
    }
}

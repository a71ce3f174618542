//! How much of what was written to a btrfs is in memory alone: what its next commit has to wait for.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::{btrfs, btrfs_quota, uuid};

/// For a change of the trees room is kept for the worst case, so many times what is written in the end: seen when 20,000 files were
/// made (32), and when they got other times (40).
const CAUTION: u64 = 32;

/// About so many bytes of data and of trees, from the counters of space in sysfs: of data there is reserved what is dirty, to the
/// byte. `None` where that cannot be known: on another filesystem, or from another kernel.
///
/// # Errors
/// Those of `fstatfs` and of the kernel's description of the filesystem.
pub fn bytes(dir: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    if !btrfs::is_btrfs(dir)? {
        return Ok(None);
    }
    let space = PathBuf::from("/sys/fs/btrfs")
        .join(uuid::text(btrfs_quota::uuid(dir)?))
        .join("allocation");
    Ok(counted(&space))
}

fn counted(space: &Path) -> Option<u64> {
    let number =
        |path: PathBuf| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let of = |kind: &str, counter: &str| number(space.join(kind).join(counter));
    // Small filesystems may keep both in the same blocks, and do not say it of each.
    let data = of("data", "bytes_may_use")? + of("data", "bytes_reserved")?;
    let spare = number(space.join("global_rsv_reserved"))?;
    let kept = of("metadata", "bytes_may_use")?.saturating_sub(spare);
    Some(
        data + of("metadata", "bytes_reserved")? + of("metadata", "bytes_pinned")? + kept / CAUTION,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_added_up() {
        let space = std::env::temp_dir().join(format!("orlop-unwritten-{}", std::process::id()));
        let set = |path: &str, number: u64| {
            let path = space.join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, format!("{number}\n")).expect("written");
        };
        assert_eq!(counted(&space), None, "another kernel");
        set("global_rsv_reserved", 5_000_000);
        for (path, number) in [
            ("data/bytes_may_use", 4096),
            ("data/bytes_reserved", 8192),
            ("metadata/bytes_may_use", 5_000_320),
            ("metadata/bytes_reserved", 100),
            ("metadata/bytes_pinned", 10),
        ] {
            set(path, number);
        }
        assert_eq!(counted(&space), Some(4096 + 8192 + 100 + 10 + 10));
        fs::remove_dir_all(&space).expect("removed");
    }

    #[test]
    fn other_filesystems_do_not_say() {
        use std::os::fd::AsFd as _;
        let proc = fs::File::open("/proc").expect("there");
        assert_eq!(bytes(proc.as_fd()).expect("no error"), None);
    }
}

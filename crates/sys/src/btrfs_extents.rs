//! What the files of a btrfs subvolume refer to on disk, by its tree: to tell what quotas count of it from what they do not.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use crate::btrfs_tree::{Key, QUOTA_TREE, search};

/// `BTRFS_EXTENT_DATA_KEY`: a part of a file.
const EXTENT_DATA: u32 = 108;
/// `BTRFS_QGROUP_STATUS_KEY`.
const STATUS: u32 = 240;
/// Where the generation of the switching on is in it; simple quotas alone have it.
const ENABLED: usize = 32;
/// `BTRFS_FILE_EXTENT_INLINE`: the bytes are in the tree.
const INLINE: u8 = 0;

/// Bytes on disk to which files refer, each counted once. An extent counts as a whole, as it does for the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Referred {
    pub bytes: u64,
    /// What of it was written before simple quotas were switched on, and is counted for nobody.
    pub older: u64,
}

/// What the subvolume of `root` refers to, as of the last sync of the filesystem. It takes as long as its tree is large.
///
/// # Errors
/// `PermissionDenied` without `CAP_SYS_ADMIN`; any other of the kernel's.
pub fn referred(root: BorrowedFd<'_>) -> io::Result<Referred> {
    let enabled = counted_since(root)?.unwrap_or(u64::MAX);
    let mut seen = HashSet::new();
    let mut referred = Referred::default();
    // 0: the tree of `root`.
    search(root, 0, all(), &mut |key, item| {
        // Generation, 12 bytes of lengths and coding, kind, and of what is on disk the place and the length.
        if key.kind != EXTENT_DATA || item.len() < 37 || item[20] == INLINE {
            return;
        }
        let (place, length) = (number(item, 21), number(item, 29));
        // A hole is nowhere.
        if place != 0 && seen.insert(place) {
            referred.bytes += length;
            if number(item, 0) < enabled {
                referred.older += length;
            }
        }
    })?;
    Ok(referred)
}

/// The generation in which simple quotas were switched on; `None` where there are none.
fn counted_since(dir: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let status = Key {
        object: 0,
        kind: STATUS,
        offset: 0,
    };
    let mut since = None;
    let found = search(dir, QUOTA_TREE, (status, status), &mut |_, item| {
        since = (item.len() >= ENABLED + 8).then(|| number(item, ENABLED));
    });
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(|()| since),
    }
}

fn all() -> (Key, Key) {
    let first = Key {
        object: 0,
        kind: 0,
        offset: 0,
    };
    let last = Key {
        object: u64::MAX,
        kind: 255,
        offset: u64::MAX,
    };
    (first, last)
}

/// As it is on disk.
fn number(item: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(item[at..at + 8].try_into().expect("eight bytes"))
}

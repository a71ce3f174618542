//! What the files of a btrfs subvolume refer to on disk, by its tree: to tell what quotas count of it from what they do not.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::btrfs_quota::QUOTA_TREE;

const TREE_SEARCH_V2: libc::c_ulong = 0xC070_9411;
/// `BTRFS_EXTENT_DATA_KEY`: a part of a file.
const EXTENT_DATA: u32 = 108;
/// `BTRFS_QGROUP_STATUS_KEY`.
const STATUS: u32 = 240;
/// Where the generation of the switching on is in it; simple quotas alone have it.
const ENABLED: usize = 32;
/// `BTRFS_FILE_EXTENT_INLINE`: the bytes are in the tree.
const INLINE: u8 = 0;
/// Of an item in the answer: transaction, object, offset, kind and length.
const HEAD: usize = 32;
const ROOM: usize = 128 << 10;

/// The kernel's `struct btrfs_ioctl_search_args_v2`, and the room that follows it.
#[repr(C)]
struct Search {
    tree: u64,
    min_object: u64,
    max_object: u64,
    min_offset: u64,
    max_offset: u64,
    min_transaction: u64,
    max_transaction: u64,
    min_kind: u32,
    max_kind: u32,
    items: u32,
    unused: u32,
    unused_more: [u64; 4],
    room: u64,
    found: [u8; ROOM],
}

/// A place in a tree; places are in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) object: u64,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
}

impl Key {
    fn next(self) -> Option<Self> {
        if let Some(offset) = self.offset.checked_add(1) {
            return Some(Self { offset, ..self });
        }
        if self.kind < 255 {
            let (kind, offset) = (self.kind + 1, 0);
            return Some(Self {
                kind,
                offset,
                ..self
            });
        }
        let object = self.object.checked_add(1)?;
        Some(Self {
            object,
            kind: 0,
            offset: 0,
        })
    }
}

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

/// Calls `each` for the items between two places of a tree.
pub(crate) fn search(
    dir: BorrowedFd<'_>,
    tree: u64,
    (first, last): (Key, Key),
    each: &mut dyn FnMut(Key, &[u8]),
) -> io::Result<()> {
    let mut search = Box::new(Search {
        tree,
        min_object: 0,
        max_object: last.object,
        min_offset: 0,
        max_offset: last.offset,
        min_transaction: 0,
        max_transaction: u64::MAX,
        min_kind: 0,
        max_kind: last.kind,
        items: 0,
        unused: 0,
        unused_more: [0; 4],
        room: ROOM as u64,
        found: [0; ROOM],
    });
    let mut next = Some(first);
    while let Some(from) = next.filter(|next| *next <= last) {
        (search.min_object, search.min_kind, search.min_offset) =
            (from.object, from.kind, from.offset);
        search.items = u32::MAX;
        // SAFETY: what the request reads and writes is the struct and the room at its end, whose length it says; it lives until
        // the call returns.
        let result = unsafe { libc::ioctl(dir.as_raw_fd(), TREE_SEARCH_V2 as _, &raw mut *search) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        next = None;
        let mut rest = &search.found[..];
        for _ in 0..search.items {
            let Some((head, after)) = rest.split_at_checked(HEAD) else {
                break;
            };
            let length = u32::from_ne_bytes(head[28..32].try_into().expect("four bytes"));
            let Some((item, after)) = after.split_at_checked(length as usize) else {
                break;
            };
            let native = |at: usize| -> [u8; 8] { head[at..at + 8].try_into().expect("eight") };
            let key = Key {
                object: u64::from_ne_bytes(native(8)),
                offset: u64::from_ne_bytes(native(16)),
                kind: u32::from_ne_bytes(head[24..28].try_into().expect("four bytes")),
            };
            each(key, item);
            next = key.next();
            rest = after;
        }
    }
    Ok(())
}

/// As it is on disk.
fn number(item: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(item[at..at + 8].try_into().expect("eight bytes"))
}

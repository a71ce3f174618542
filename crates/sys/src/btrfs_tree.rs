//! What is written in the trees of a btrfs, item by item.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

const TREE_SEARCH_V2: libc::c_ulong = 0xC070_9411;
/// `BTRFS_ROOT_TREE_OBJECTID`: the tree of the trees.
pub(crate) const ROOT_TREE: u64 = 1;
/// `BTRFS_QUOTA_TREE_OBJECTID`: the tree of the groups.
pub(crate) const QUOTA_TREE: u64 = 8;
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

//! Owners of a bind's source that appear as others inside.
//!
//! Applied to the copy of the mount before it is put in its place: an attached mount cannot be mapped any more.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;
use shim_protocol::StartError;
use shim_protocol::spec::{IdMap, Mount, MountKind};
use sys::user_namespace::IdRange;

use super::sources::Tree;
use super::{target, user};
use crate::failure::{During as _, failed};

/// One more than the greatest id; the last number of 32 bits is none.
const IDS: u32 = u32::MAX;

/// Maps the owners of `tree`, if `mount` says so. Users are looked up in `root`; `own` is the container's.
pub(crate) fn apply(
    root: BorrowedFd<'_>,
    mount: &Mount,
    tree: Option<&Tree>,
    own: &str,
) -> Result<(), StartError> {
    let (
        MountKind::Bind {
            source,
            recursive,
            idmap: Some(map),
            ..
        },
        Some(tree),
    ) = (&mount.kind, tree)
    else {
        return Ok(());
    };
    let what = || {
        format!(
            "cannot map the owners of '{}' for {}",
            source.display(),
            mount.target
        )
    };
    let (uids, gids) = match map {
        IdMap::MatchUser(user) => {
            let (uid, gid, _) = target::owner_and_mode(&tree.mount).during("mount", what)?;
            let user = user::look_up_in(root, user.as_deref().unwrap_or(own), &[])?;
            if (uid, gid) == (user.uid, user.gid) {
                return Ok(());
            }
            (exchange(uid, user.uid), exchange(gid, user.gid))
        }
        IdMap::Ranges { uids, gids } => {
            let ranges = |list: &[shim_protocol::spec::IdRange]| -> Vec<IdRange> {
                list.iter()
                    .map(|range| IdRange {
                        inside: range.source,
                        outside: range.target,
                        count: range.count,
                    })
                    .collect()
            };
            (ranges(uids), ranges(gids))
        }
    };
    let users = sys::user_namespace::with_maps(&uids, &gids).during("mount", what)?;
    sys::mount::map_ids(tree.mount.as_fd(), *recursive, users.as_fd()).map_err(|error| {
        let number = error.raw_os_error();
        let why = if number == Some(Errno::INVAL.raw_os_error()) {
            "its filesystem, or one that is mounted below it, cannot do that".to_owned()
        } else if number == Some(Errno::PERM.raw_os_error()) {
            "they are mapped already, or its filesystem does not allow it".to_owned()
        } else if number == Some(Errno::NOSYS.raw_os_error()) {
            "that needs Linux 5.12 or later".to_owned()
        } else {
            crate::failure::text(&error)
        };
        failed("mount", format!("{}: {why}", what()))
    })
}

/// All ids as they are, but `a` and `b` in each other's place.
fn exchange(a: u32, b: u32) -> Vec<IdRange> {
    let (low, high) = (a.min(b), a.max(b));
    let piece = |inside, outside, count| IdRange {
        inside,
        outside,
        count,
    };
    let mut pieces = vec![piece(0, 0, low)];
    if low == high {
        pieces.push(piece(low, low, 1));
    } else {
        pieces.push(piece(low, high, 1));
        pieces.push(piece(low + 1, low + 1, high - low - 1));
        pieces.push(piece(high, low, 1));
    }
    pieces.push(piece(high + 1, high + 1, IDS - high - 1));
    pieces.retain(|piece| piece.count > 0);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[IdRange], id: u32) -> Option<u32> {
        pieces
            .iter()
            .find(|piece| id >= piece.inside && id - piece.inside < piece.count)
            .map(|piece| piece.outside + (id - piece.inside))
    }

    #[test]
    fn two_change_places_and_nobody_else_moves() {
        for (a, b) in [(0, 1000), (1000, 0), (33, 34), (7, 7), (0, 0), (0, IDS - 1)] {
            let pieces = exchange(a, b);
            assert_eq!((seen(&pieces, a), seen(&pieces, b)), (Some(b), Some(a)));
            for id in [1, 500, 35, 999, 1001, IDS - 2] {
                if id != a && id != b {
                    assert_eq!(seen(&pieces, id), Some(id), "{a} {b}");
                }
            }
            assert_eq!(
                pieces
                    .iter()
                    .map(|piece| u64::from(piece.count))
                    .sum::<u64>(),
                u64::from(IDS)
            );
        }
    }
}

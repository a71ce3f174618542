//! The entries of a tree with all that is in them, read by several threads and given out in order.
//!
//! So many entries at a time are read that memory does not grow with the tree; files are read in pieces, so that several threads
//! share a large one.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use crate::blocks::{self, BLOCK};
use crate::entry::{Digest, Entry, Meta, Node};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::read::{self, Found, Names, Places};

/// Entries that are read at a time.
const WINDOW: usize = 1024;
/// Blocks of a piece.
const PIECE: u64 = (16 << 20) / BLOCK as u64;
/// Pieces that a thread takes at once: neighbours are in one directory.
const BATCH: usize = 4;
const MOST_THREADS: usize = 4;

/// An entry that was read.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) found: Found,
    pub(crate) entry: Entry,
    /// A time before its contents were read.
    pub(crate) looked: SystemTime,
    /// Bytes that were.
    pub(crate) read: u64,
}

/// Contents of a file that are known without reading them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Believed<'k> {
    /// Those that hold anything but zeros.
    pub(crate) blocks: &'k [(u64, Digest)],
    /// But not of these,
    pub(crate) stale: Option<&'k BTreeSet<u64>>,
    /// nor from this one on.
    pub(crate) until: u64,
}

impl Believed<'_> {
    /// Nothing of it need be read.
    fn is_whole(&self) -> bool {
        self.until == u64::MAX && self.stale.is_none_or(BTreeSet::is_empty)
    }

    pub(crate) fn digest(&self, index: u64) -> Option<Digest> {
        if index >= self.until || self.stale.is_some_and(|stale| stale.contains(&index)) {
            return None;
        }
        let at = self
            .blocks
            .binary_search_by_key(&index, |(index, _)| *index);
        at.ok().map(|at| self.blocks[at].1)
    }
}

/// Which contents are believed.
pub(crate) type Belief<'b> = &'b (dyn Fn(&Found) -> Option<Believed<'b>> + Sync);

/// Nothing but what is read.
pub(crate) fn doubt<'b>(_: &Found) -> Option<Believed<'b>> {
    None
}

/// Calls `each` with every entry of `found`, in order. Ends early, and says nothing, when `stop` is set.
pub(crate) fn count(
    root: BorrowedFd<'_>,
    found: Vec<Found>,
    belief: Belief<'_>,
    stop: &AtomicBool,
    mut each: impl FnMut(Counted) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let mut names = Names::default();
    let mut found = found.into_iter().peekable();
    while found.peek().is_some() {
        let window: Vec<(Found, Option<RelPath>)> = found
            .by_ref()
            .take(WINDOW)
            .map(|found| {
                let first = names.first(&found);
                (found, first)
            })
            .collect();
        let mut parts = read_all(root, &window, belief, stop).into_iter();
        for (found, first) in window {
            let Some(first_part) = parts.next().flatten() else {
                return Ok(());
            };
            let mut part = first_part?;
            for _ in 1..pieces(&found, first.as_ref()) {
                let Some(more) = parts.next().flatten() else {
                    return Ok(());
                };
                let more = more?;
                part.blocks.extend(more.blocks);
                part.read += more.read;
                part.looked = part.looked.min(more.looked);
            }
            let Some((meta, node)) = part.about else {
                return Ok(());
            };
            each(Counted {
                entry: Entry {
                    path: found.path.clone(),
                    meta,
                    node,
                    blocks: part.blocks,
                },
                found,
                looked: part.looked,
                read: part.read,
            })?;
        }
    }
    Ok(())
}

/// Blocks of one file that hold anything but zeros, read by several threads; how many bytes that were.
pub(crate) fn contents(
    file: BorrowedFd<'_>,
    size: u64,
) -> std::io::Result<(Vec<(u64, Digest)>, u64)> {
    let pieces = usize::try_from(size.div_ceil(BLOCK as u64).div_ceil(PIECE)).unwrap_or(usize::MAX);
    let threads = threads().min(pieces);
    if threads < 2 {
        return blocks::digests(file, size, 0..u64::MAX, |_| None);
    }
    // A range for each: the pieces of a file that is mostly holes would be too many to list.
    let share = (pieces.div_ceil(threads) as u64).saturating_mul(PIECE);
    thread::scope(|scope| {
        let reading: Vec<_> = (0..threads as u64)
            .map(|turn| {
                let from = share.saturating_mul(turn);
                let range = from..from.saturating_add(share);
                scope.spawn(move || blocks::digests(file, size, range, |_| None))
            })
            .collect();
        let mut all = (Vec::new(), 0);
        for part in reading {
            let (blocks, read) = part.join().expect("a file is read without a panic")?;
            all.0.extend(blocks);
            all.1 += read;
        }
        Ok(all)
    })
}

fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST_THREADS)
}

/// What one thread has read: a piece of a file, or all there is to another entry.
struct Part {
    /// With the first piece.
    about: Option<(Meta, Node)>,
    looked: SystemTime,
    blocks: Vec<(u64, Digest)>,
    read: u64,
}

/// In how many pieces an entry is read. Few enough for a file of any size to be listed.
fn pieces(found: &Found, first: Option<&RelPath>) -> u64 {
    let is_one = first.is_none() && found.stat.kind() == rustix::fs::FileType::RegularFile;
    if is_one {
        (found.stat.size / BLOCK as u64 / PIECE).clamp(1, 64)
    } else {
        1
    }
}

type Read = Option<Result<Part, TransferError>>;

fn read_all(
    root: BorrowedFd<'_>,
    window: &[(Found, Option<RelPath>)],
    belief: Belief<'_>,
    stop: &AtomicBool,
) -> Vec<Read> {
    let tasks: Vec<(usize, u64)> = window
        .iter()
        .enumerate()
        .flat_map(|(at, (found, first))| {
            (0..pieces(found, first.as_ref())).map(move |piece| (at, piece))
        })
        .collect();
    let parts: Vec<OnceLock<Result<Part, TransferError>>> =
        tasks.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut places = Places::new(root);
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            if from >= tasks.len() {
                return;
            }
            for at in from..tasks.len().min(from + BATCH) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (entry, piece) = tasks[at];
                let (found, first) = &window[entry];
                let part = read_part(&mut places, found, first.as_ref(), piece, belief);
                // Each place is filled once.
                parts[at].get_or_init(|| part);
            }
        }
    };
    let threads = threads().min(tasks.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    parts.into_iter().map(OnceLock::into_inner).collect()
}

fn read_part(
    places: &mut Places<'_>,
    found: &Found,
    first: Option<&RelPath>,
    piece: u64,
    belief: Belief<'_>,
) -> Result<Part, TransferError> {
    let failed = || TransferError::io("read", &found.path);
    let dir = places.parent(&found.path).map_err(failed())?;
    let node = match first {
        Some(first) => Node::Link(first.clone()),
        None => read::node(dir, found).map_err(failed())?,
    };
    let mut part = Part {
        about: None,
        looked: SystemTime::now(),
        blocks: Vec::new(),
        read: 0,
    };
    let believed = belief(found);
    match (&node, believed) {
        (Node::File { .. }, Some(believed)) if believed.is_whole() => {
            part.blocks = if piece == 0 {
                believed.blocks.to_vec()
            } else {
                Vec::new()
            };
        }
        (&Node::File { size }, _) => {
            let share = size
                .div_ceil(BLOCK as u64)
                .div_ceil(pieces(found, first))
                .max(1);
            let from = share.saturating_mul(piece);
            let file = read::open(dir, found).map_err(failed())?;
            (part.blocks, part.read) = blocks::digests(
                file.as_fd(),
                size,
                from..from.saturating_add(share),
                |index| believed.and_then(|believed| believed.digest(index)),
            )
            .map_err(failed())?;
        }
        _ => {}
    }
    if piece == 0 {
        part.about = Some((read::meta(dir, found).map_err(failed())?, node));
    }
    Ok(part)
}

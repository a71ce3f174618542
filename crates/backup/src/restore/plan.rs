//! Which blobs of which packs go where.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use rustic_core::Id;

use crate::index::{BlobKind, IdMap, Index, Spot};
use crate::node::Node;

/// A batch ends at so many files or blobs.
const FILES: usize = 20_000;
const BLOBS: usize = 200_000;

pub(super) struct PlannedFile {
    pub(super) above: PathBuf,
    pub(super) name: OsString,
    /// Without its content.
    pub(super) node: Node,
    /// Whether the file is there; held while it is made.
    pub(super) made: Mutex<bool>,
    /// Blobs that are not written.
    pub(super) left: AtomicUsize,
    /// What it is so far.
    pub(super) length: AtomicU64,
}

impl PlannedFile {
    pub(super) fn new(above: PathBuf, name: OsString, node: Node, blobs: usize) -> Self {
        Self {
            above,
            name,
            node,
            made: Mutex::new(false),
            left: AtomicUsize::new(blobs),
            length: AtomicU64::new(0),
        }
    }
}

/// A blob, and the files and offsets at which it is wanted.
pub(super) struct Needed {
    pub(super) id: Id,
    pub(super) spot: Spot,
    pub(super) wanted: Vec<(u32, u64)>,
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) files: Vec<PlannedFile>,
    pub(super) packs: BTreeMap<u32, Vec<Needed>>,
    /// Where in `packs` a blob is.
    known: IdMap<(u32, usize)>,
    blobs: usize,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.files.len() >= FILES || self.blobs >= BLOBS
    }

    /// Plans a file; its length, or the blob that no pack has.
    pub(super) fn add(
        &mut self,
        index: &Index,
        file: PlannedFile,
        content: &[Id],
    ) -> Result<u64, Id> {
        let number = u32::try_from(self.files.len()).expect("a batch is small");
        let mut at = 0;
        for id in content {
            let spot = index.find(BlobKind::Data, id).ok_or(*id)?;
            let (pack, place) = *self.known.entry(*id).or_insert_with(|| {
                let pack = self.packs.entry(spot.pack).or_default();
                pack.push(Needed {
                    id: *id,
                    spot,
                    wanted: Vec::new(),
                });
                (spot.pack, pack.len() - 1)
            });
            if let Some(needed) = self.packs.get_mut(&pack) {
                needed[place].wanted.push((number, at));
            }
            at += spot.plain_length();
        }
        self.blobs += content.len();
        self.files.push(file);
        Ok(at)
    }
}

/// Neighbours among sorted blobs, so that each range is read at once.
pub(super) fn ranges(needed: &[Needed], most: u64, gap: u64) -> Vec<Range<usize>> {
    let start = |at: usize| u64::from(needed[at].spot.offset);
    let end = |at: usize| start(at) + u64::from(needed[at].spot.length);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in 0..needed.len() {
        match ranges.last_mut() {
            Some(range)
                if start(at) <= end(range.end - 1) + gap
                    && end(at) <= start(range.start) + most =>
            {
                range.end = at + 1;
            }
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

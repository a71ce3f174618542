//! Fills packs with sealed blobs, writes them, and keeps the index of what was written.
//!
//! A blob is added once, whichever thread has it first. A pack is written by threads of their own, so that sealing goes on
//! meanwhile; the index mentions it only when it is durable. The first failure ends all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustic_core::Id;

use crate::crypt::id_of;
use crate::error::BackupError;
use crate::index::{BlobKind, IdSet, Index, IndexBlob, IndexFile, IndexPack};
use crate::node::Tree;
use crate::place::{Kind, Name};
use crate::repository::Repository;

/// As restic's; packs of trees are read more often, and kept in caches.
const DATA_PACK: usize = 16 * 1024 * 1024;
const TREE_PACK: usize = 4 * 1024 * 1024;
/// Packs that are written at once.
const WRITERS: usize = 2;
/// A part of the index is written after so many blobs, or so long: what a killed run stored is then known to the next.
const INDEX_BLOBS: usize = 50_000;
const INDEX_AGE: Duration = Duration::from_secs(300);

/// What was stored.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(super) new_data: u64,
    pub(super) new_trees: u64,
    /// Sealed.
    pub(super) stored: u64,
    data_blobs: u64,
    tree_blobs: u64,
}

impl Stored {
    pub(super) fn blobs(&self, kind: BlobKind) -> u64 {
        match kind {
            BlobKind::Data => self.data_blobs,
            BlobKind::Tree => self.tree_blobs,
        }
    }
}

#[derive(Default)]
struct Building {
    bytes: Vec<u8>,
    blobs: Vec<IndexBlob>,
}

struct Full {
    kind: BlobKind,
    bytes: Vec<u8>,
    blobs: Vec<IndexBlob>,
}

#[derive(Default)]
struct Counters {
    new_data: AtomicU64,
    new_trees: AtomicU64,
    stored: AtomicU64,
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
}

struct Unwritten {
    packs: Vec<IndexPack>,
    blobs: usize,
    since: Instant,
}

/// The packs of one run.
pub(crate) struct Packs<'a> {
    repository: &'a Repository,
    index: &'a Index,
    /// What this run has added, by kind.
    data: Mutex<IdSet>,
    trees: Mutex<IdSet>,
    data_pack: Mutex<Building>,
    tree_pack: Mutex<Building>,
    full: SyncSender<Full>,
    unwritten: Mutex<Unwritten>,
    failed: AtomicBool,
    failure: Mutex<Option<BackupError>>,
    counters: Counters,
}

/// Hands over what is left and lets the writers end, also when filling failed or panicked: what is sealed need not be sealed
/// again by the next run.
struct EndOfPacks<'p, 'a>(&'p Packs<'a>);

impl Drop for EndOfPacks<'_, '_> {
    fn drop(&mut self) {
        for kind in [BlobKind::Data, BlobKind::Tree] {
            self.0.finish(kind);
        }
        for _ in 0..WRITERS {
            // A writer ends at an empty pack.
            self.0.hand_over(Full {
                kind: BlobKind::Data,
                bytes: Vec::new(),
                blobs: Vec::new(),
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Packs<'a> {
    /// Lets `fill` add blobs; everything is durable and in the index when this returns without error. After one, what was
    /// written is in the index too, as far as that is possible.
    pub(crate) fn run<T>(
        repository: &'a Repository,
        index: &'a Index,
        fill: impl FnOnce(&Self) -> Result<T, BackupError>,
    ) -> Result<(T, Stored), BackupError> {
        let (sender, receiver) = sync_channel(1);
        let receiver = Mutex::new(receiver);
        let mut packs = Self {
            repository,
            index,
            data: Mutex::default(),
            trees: Mutex::default(),
            data_pack: Mutex::default(),
            tree_pack: Mutex::default(),
            full: sender,
            unwritten: Mutex::new(Unwritten {
                packs: Vec::new(),
                blobs: 0,
                since: Instant::now(),
            }),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            counters: Counters::default(),
        };
        let done = std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| packs.write_all(&receiver));
            }
            let _end = EndOfPacks(&packs);
            fill(&packs)
        });
        packs.write_index();
        if let Some(failure) = lock(&packs.failure).take() {
            return Err(failure);
        }
        let done = done?;
        let counters = &mut packs.counters;
        let stored = Stored {
            new_data: *counters.new_data.get_mut(),
            new_trees: *counters.new_trees.get_mut(),
            stored: *counters.stored.get_mut(),
            data_blobs: *counters.data_blobs.get_mut(),
            tree_blobs: *counters.tree_blobs.get_mut(),
        };
        Ok((done, stored))
    }

    /// Whether something failed that ends all.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn fail(&self, error: BackupError) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn has(&self, kind: BlobKind, id: &Id) -> bool {
        self.index.has(kind, id)
    }

    /// Stores a blob unless it is there.
    pub(crate) fn add(&self, kind: BlobKind, plain: &[u8]) -> Result<Id, BackupError> {
        let id = id_of(plain);
        if self.index.has(kind, &id) {
            return Ok(id);
        }
        let added = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        };
        if !lock(added).insert(id) {
            return Ok(id);
        }
        let (sealed, raw) = self
            .repository
            .cipher
            .seal_blob(plain, self.repository.config.version);
        let (new, blobs) = match kind {
            BlobKind::Data => (&self.counters.new_data, &self.counters.data_blobs),
            BlobKind::Tree => (&self.counters.new_trees, &self.counters.tree_blobs),
        };
        new.fetch_add(plain.len() as u64, Ordering::Relaxed);
        blobs.fetch_add(1, Ordering::Relaxed);
        self.counters
            .stored
            .fetch_add(sealed.len() as u64, Ordering::Relaxed);
        let mut building = lock(self.building(kind));
        let offset = u32::try_from(building.bytes.len()).expect("packs are of 16 MiB and a blob");
        let length = u32::try_from(sealed.len()).expect("chunks and trees are shorter than 4 GiB");
        building.blobs.push(IndexBlob {
            id,
            kind,
            offset,
            length,
            uncompressed_length: raw,
        });
        building.bytes.extend_from_slice(&sealed);
        let limit = match kind {
            BlobKind::Data => DATA_PACK,
            BlobKind::Tree => TREE_PACK,
        };
        if building.bytes.len() >= limit {
            let full = std::mem::take(&mut *building);
            drop(building);
            self.seal_pack(kind, full);
        }
        Ok(id)
    }

    pub(crate) fn add_tree(&self, tree: &Tree) -> Result<Id, BackupError> {
        let mut plain = serde_json::to_vec(tree).expect("trees have only texts as keys");
        plain.push(b'\n');
        self.add(BlobKind::Tree, &plain)
    }

    fn building(&self, kind: BlobKind) -> &Mutex<Building> {
        match kind {
            BlobKind::Data => &self.data_pack,
            BlobKind::Tree => &self.tree_pack,
        }
    }

    fn finish(&self, kind: BlobKind) {
        let building = std::mem::take(&mut *lock(self.building(kind)));
        if !building.blobs.is_empty() {
            self.seal_pack(kind, building);
        }
    }

    /// Adds what describes the blobs: sealed, and its length.
    fn seal_pack(&self, kind: BlobKind, building: Building) {
        let Building { mut bytes, blobs } = building;
        let mut header = Vec::with_capacity(blobs.len() * 41);
        for blob in &blobs {
            let compressed = blob.uncompressed_length != 0;
            header.push(match (blob.kind, compressed) {
                (BlobKind::Data, false) => 0,
                (BlobKind::Tree, false) => 1,
                (BlobKind::Data, true) => 2,
                (BlobKind::Tree, true) => 3,
            });
            header.extend_from_slice(&blob.length.to_le_bytes());
            if compressed {
                header.extend_from_slice(&blob.uncompressed_length.to_le_bytes());
            }
            header.extend_from_slice(&bytes_of(&blob.id));
        }
        let sealed = self.repository.cipher.seal(&header);
        bytes.extend_from_slice(&sealed);
        let length = u32::try_from(sealed.len()).expect("a pack has fewer than 2^26 blobs");
        bytes.extend_from_slice(&length.to_le_bytes());
        self.hand_over(Full { kind, bytes, blobs });
    }

    fn hand_over(&self, full: Full) {
        // The writers are there until each got an empty pack.
        let sent = self.full.send(full);
        sent.expect("the writers outlive the one who fills");
    }

    fn write_all(&self, receiver: &Mutex<Receiver<Full>>) {
        loop {
            let Ok(full) = lock(receiver).recv() else {
                return;
            };
            if full.blobs.is_empty() {
                return;
            }
            // After a failure the rest is only taken away, so that nobody waits.
            if !self.has_failed()
                && let Err(error) = self.write(full)
            {
                self.fail(error);
            }
        }
    }

    fn write(&self, full: Full) -> Result<(), BackupError> {
        let id = id_of(&full.bytes);
        let name = Name::new(Kind::Pack, id);
        match full.kind {
            BlobKind::Data => self.repository.storage.write(name, &full.bytes)?,
            BlobKind::Tree => self.repository.storage.write_kept(name, &full.bytes)?,
        }
        let packs = {
            let mut unwritten = lock(&self.unwritten);
            unwritten.blobs += full.blobs.len();
            let blobs = full.blobs;
            unwritten.packs.push(IndexPack { id, blobs });
            if unwritten.blobs < INDEX_BLOBS && unwritten.since.elapsed() < INDEX_AGE {
                return Ok(());
            }
            unwritten.blobs = 0;
            unwritten.since = Instant::now();
            std::mem::take(&mut unwritten.packs)
        };
        self.repository
            .save_file(Kind::Index, &IndexFile { packs })
            .map(drop)
    }

    fn write_index(&self) {
        let packs = std::mem::take(&mut lock(&self.unwritten).packs);
        if packs.is_empty() {
            return;
        }
        let written = self.repository.save_file(Kind::Index, &IndexFile { packs });
        if let Err(error) = written {
            self.fail(error);
        }
    }
}

/// The library shows an id only as text.
fn bytes_of(id: &Id) -> [u8; 32] {
    let hex = id.to_hex();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    };
    let hex = hex.as_str().as_bytes();
    std::array::from_fn(|at| (digit(hex[2 * at]) << 4) | digit(hex[2 * at + 1]))
}

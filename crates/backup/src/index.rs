//! Which blob is in which pack: the index of a repository, held in memory as densely as is practical.
//!
//! A blob is data or a tree; both kinds have tables of their own, because a file may hold the bytes of a tree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use rustic_core::Id;
use serde::{Deserialize, Deserializer, Serialize};

/// What is in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobKind {
    Data,
    Tree,
}

/// A file of the index.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IndexFile {
    #[serde(default)]
    pub(crate) packs: Vec<IndexPack>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexPack {
    pub(crate) id: Id,
    #[serde(default)]
    pub(crate) blobs: Vec<IndexBlob>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct IndexBlob {
    pub(crate) id: Id,
    #[serde(rename = "type")]
    pub(crate) kind: BlobKind,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// Before compression; 0 when it is not compressed, for which some programs write `null`.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_is_zero"
    )]
    pub(crate) uncompressed_length: u32,
}

fn null_is_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl IndexPack {
    /// Of the whole pack file: blobs, their sealed description, its length.
    pub(crate) fn size(&self) -> u64 {
        let overhead = crate::crypt::OVERHEAD as u64;
        let entry = |blob: &IndexBlob| {
            if blob.uncompressed_length == 0 {
                37
            } else {
                41
            }
        };
        self.blobs
            .iter()
            .map(|blob| u64::from(blob.length) + entry(blob))
            .sum::<u64>()
            + overhead
            + 4
    }

    pub(crate) fn kind(&self) -> BlobKind {
        self.blobs.first().map_or(BlobKind::Data, |blob| blob.kind)
    }
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) raw: u32,
}

impl Spot {
    /// Of the blob itself.
    pub(crate) fn plain_length(&self) -> u64 {
        if self.raw == 0 {
            u64::from(self.length).saturating_sub(crate::crypt::OVERHEAD as u64)
        } else {
            u64::from(self.raw)
        }
    }
}

/// Ids are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of the id, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type IdMap<T> = HashMap<Id, T, BuildHasherDefault<IdHasher>>;
pub(crate) type IdSet = std::collections::HashSet<Id, BuildHasherDefault<IdHasher>>;

#[derive(Debug, Default)]
pub(crate) struct Index {
    packs: Vec<Id>,
    known: IdSet,
    data: IdMap<Spot>,
    trees: IdMap<Spot>,
    /// Where else blobs are that several packs have: few, unless a pack was lost and stored again.
    further: HashMap<(BlobKind, Id), Vec<Spot>>,
    /// Files of it that could not be read.
    damaged: Vec<Id>,
}

impl Index {
    /// Room for so many blobs of data; of trees there are fewer.
    fn with_room_for(blobs: usize) -> Self {
        let mut index = Self::default();
        index.data.reserve(blobs);
        index
    }

    /// That of these packs, where these files of it cannot be read.
    pub(crate) fn of(packs: &[IndexPack], damaged: &[Id]) -> Self {
        let mut index = Self::with_room_for(packs.iter().map(|pack| pack.blobs.len()).sum());
        for pack in packs {
            index.add(pack);
        }
        index.damaged.extend_from_slice(damaged);
        index
    }

    /// Adds what a pack has; one that is known already is not added again.
    pub(crate) fn add(&mut self, pack: &IndexPack) {
        if !self.known.insert(pack.id) {
            return;
        }
        let number = u32::try_from(self.packs.len()).expect("fewer than 2^32 packs");
        self.packs.push(pack.id);
        for blob in &pack.blobs {
            let spot = Spot {
                pack: number,
                offset: blob.offset,
                length: blob.length,
                raw: blob.uncompressed_length,
            };
            match self.table(blob.kind).entry(blob.id) {
                Entry::Vacant(entry) => {
                    entry.insert(spot);
                }
                Entry::Occupied(_) => {
                    let further = self.further.entry((blob.kind, blob.id));
                    further.or_default().push(spot);
                }
            }
        }
    }

    fn table(&mut self, kind: BlobKind) -> &mut IdMap<Spot> {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    pub(crate) fn find(&self, kind: BlobKind, id: &Id) -> Option<Spot> {
        match kind {
            BlobKind::Data => self.data.get(id),
            BlobKind::Tree => self.trees.get(id),
        }
        .copied()
    }

    /// Everywhere that a blob is.
    pub(crate) fn spots(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = Spot> {
        let further = self.further.get(&(kind, *id)).into_iter().flatten();
        self.find(kind, id).into_iter().chain(further.copied())
    }

    /// Files of the index that could not be read.
    pub(crate) fn damaged(&self) -> &[Id] {
        &self.damaged
    }

    pub(crate) fn has(&self, kind: BlobKind, id: &Id) -> bool {
        self.find(kind, id).is_some()
    }

    pub(crate) fn pack(&self, number: u32) -> Id {
        self.packs[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_may_be_null_or_missing() {
        let id = "00".repeat(32);
        for length in [
            "",
            r#","uncompressed_length":null"#,
            r#","uncompressed_length":0"#,
        ] {
            let blob = format!(r#"{{"id":"{id}","type":"data","offset":0,"length":40{length}}}"#);
            let text = format!(r#"{{"packs":[{{"id":"{id}","blobs":[{blob}]}}]}}"#);
            let file: IndexFile = serde_json::from_str(&text).unwrap();
            assert_eq!(file.packs[0].size(), 40 + 37 + 32 + 4, "{length}");
        }
    }
}

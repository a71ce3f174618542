//! The cuts of the parent's file, for a file that is not the same: most of a large file that was changed is where it was.
//!
//! A cut depends on nothing but the bytes since the cut before. Where a chunk of the parent's file began, the same bytes
//! therefore end in the same place, and their hash says that they are the same: they need not be searched for cuts. The last
//! chunk ended because the file did, and tells only of another file that ends there.

use std::ops::Range;

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _};
use rustic_core::Id;

use super::chunk::MOST;
use crate::crypt::id_of;
use crate::index::{BlobKind, Index};

/// A chunk that may come.
struct Expected {
    id: Id,
    at: u64,
    length: usize,
}

/// What the chunks of a file were.
#[derive(Default)]
pub(super) struct Guide {
    expected: Vec<Expected>,
    /// Of the whole file, when all of its chunks are known.
    end: Option<u64>,
    /// Those before it are behind us.
    next: usize,
}

impl Guide {
    /// Of the content that the parent's file had, up to the first chunk that is not in the repository.
    pub(super) fn new(index: &Index, content: &[Id]) -> Self {
        let mut at = 0;
        let mut expected = Vec::with_capacity(content.len());
        for id in content {
            let length = index
                .find(BlobKind::Data, id)
                .and_then(|spot| usize::try_from(spot.plain_length()).ok())
                .filter(|length| (1..=MOST).contains(length));
            let Some(length) = length else {
                return Self {
                    expected,
                    ..Self::default()
                };
            };
            let id = *id;
            expected.push(Expected { id, at, length });
            at += length as u64;
        }
        Self {
            expected,
            end: Some(at),
            next: 0,
        }
    }

    /// Some chunks that are to be expected where a chunk begins, one after the other, of no more than [`MOST`] bytes; none
    /// where none began.
    pub(super) fn ahead(&mut self, at: u64) -> Ahead<'_> {
        let rest = &self.expected[self.next..];
        self.next += rest.partition_point(|expected| expected.at < at);
        let rest = &self.expected[self.next..];
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|expected| {
                bytes += expected.length;
                bytes <= MOST
            })
            .count();
        let here = rest.first().is_some_and(|first| first.at == at);
        let chunks = &rest[..if here { count } else { 0 }];
        let ends_file = chunks
            .last()
            .is_some_and(|last| Some(last.at + last.length as u64) == self.end);
        Ahead { chunks, ends_file }
    }
}

/// Chunks to be expected.
pub(super) struct Ahead<'a> {
    chunks: &'a [Expected],
    /// The last of them ended with the file.
    ends_file: bool,
}

impl Ahead<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many bytes must be looked at: one more than they have, where it matters whether the file ends.
    pub(super) fn wanted(&self) -> usize {
        let bytes: usize = self.chunks.iter().map(|chunk| chunk.length).sum();
        bytes + usize::from(self.ends_file)
    }

    /// Those that `bytes` begin with, as `sealers` find out together.
    pub(super) fn found(
        &self,
        bytes: &[u8],
        sealers: &ThreadPool,
    ) -> impl Iterator<Item = (Id, usize)> {
        let mut at = 0;
        let mut parts: Vec<(Id, Range<usize>)> = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks {
            let end = at + chunk.length;
            if end > bytes.len() {
                break;
            }
            parts.push((chunk.id, at..end));
            at = end;
        }
        if self.ends_file && parts.len() == self.chunks.len() && bytes.len() > at {
            parts.pop();
        }
        let other = |(id, part): &(Id, Range<usize>)| id_of(&bytes[part.clone()]) != *id;
        let same = match parts.as_slice() {
            [] => 0,
            [one] => usize::from(!other(one)),
            several => sealers
                .install(|| several.into_par_iter().position_first(other))
                .unwrap_or(several.len()),
        };
        parts.truncate(same);
        parts.into_iter().map(|(id, part)| (id, part.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{IndexBlob, IndexPack};

    fn known(chunks: &[&[u8]]) -> (Index, Vec<Id>) {
        let mut index = Index::default();
        let blobs = chunks.iter().map(|chunk| IndexBlob {
            id: id_of(chunk),
            kind: BlobKind::Data,
            offset: 0,
            length: 0,
            uncompressed_length: u32::try_from(chunk.len()).unwrap(),
        });
        index.add(&IndexPack {
            id: id_of(b"pack"),
            blobs: blobs.collect(),
        });
        (index, chunks.iter().map(|chunk| id_of(chunk)).collect())
    }

    fn found(guide: &mut Guide, file: &[u8], at: usize) -> Vec<usize> {
        let sealers = rayon::ThreadPoolBuilder::new().build().unwrap();
        let ahead = guide.ahead(at as u64);
        let end = (at + ahead.wanted()).min(file.len());
        ahead
            .found(&file[at..end], &sealers)
            .map(|(_, length)| length)
            .collect()
    }

    #[test]
    fn chunks_are_found_where_they_were() {
        let (index, content) = known(&[b"aaa", b"bbbb", b"cc"]);
        let guide = || Guide::new(&index, &content);
        assert_eq!(found(&mut guide(), b"aaabbbbcc", 0), [3, 4, 2]);
        assert_eq!(found(&mut guide(), b"aaabbbbcc", 3), [4, 2]);
        assert_eq!(found(&mut guide(), b"aaabXbbcc", 0), [3]);
        assert_eq!(found(&mut guide(), b"Xaabbbbcc", 0), [0; 0]);
        assert_eq!(
            found(&mut guide(), b"aaabbbbcc", 1),
            [0; 0],
            "no cut was there"
        );
        assert_eq!(found(&mut guide(), b"Xaabbbbcc", 7), [2]);
    }

    #[test]
    fn the_end_of_a_file_is_no_cut() {
        let (index, content) = known(&[b"aaa", b"bbbb"]);
        let guide = || Guide::new(&index, &content);
        assert_eq!(found(&mut guide(), b"aaabbbbc", 0), [3]);
        assert_eq!(found(&mut guide(), b"aaabbb", 0), [3]);
        assert_eq!(found(&mut guide(), b"aaabbbb", 0), [3, 4]);
    }

    #[test]
    fn what_is_not_in_the_repository_is_not_expected() {
        let (index, mut content) = known(&[b"aaa", b"bbbb"]);
        content.insert(1, id_of(b"gone"));
        let mut guide = Guide::new(&index, &content);
        assert_eq!(found(&mut guide, b"aaabbbb", 0), [3]);
        assert_eq!(found(&mut guide, b"aaabbbb", 3), [0; 0]);
    }
}

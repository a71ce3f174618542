//! The cuts of the parent's file, for a file that is not the same: most of a large file that was changed is where it was.
//!
//! A cut depends on nothing but the bytes since the cut before. Where a chunk of the parent's file began, the same bytes
//! therefore end in the same place, and their hash says that they are the same: they need not be searched for cuts. The last
//! chunk ended because the file did, and tells only of another file that ends there.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use rustic_core::Id;
use rustix::fs::Advice;

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

    /// Some chunks that are to be expected where a chunk begins, one after the other, of no more than `most` bytes, which is
    /// at least [`MOST`]; none where none began.
    pub(super) fn ahead(&mut self, at: u64, most: usize) -> Ahead<'_> {
        let rest = &self.expected[self.next..];
        self.next += rest.partition_point(|expected| expected.at < at);
        let rest = &self.expected[self.next..];
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|expected| {
                bytes += expected.length;
                bytes <= most
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

/// Chunks that are the same: their hashes and lengths.
pub(super) type Same = Vec<(Id, usize)>;

impl Ahead<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many bytes must be looked at: one more than they have, where it matters whether the file ends.
    pub(super) fn wanted(&self) -> usize {
        let bytes: usize = self.chunks.iter().map(|chunk| chunk.length).sum();
        bytes + usize::from(self.ends_file)
    }

    /// Those that `bytes` begin with.
    pub(super) fn in_bytes(&self, bytes: &[u8], sealers: &ThreadPool) -> Same {
        let start = self.chunks.first().map_or(0, |first| first.at);
        let part = |chunk: &Expected| {
            let from = usize::try_from(chunk.at - start).ok()?;
            bytes.get(from..from + chunk.length)
        };
        let goes_on = bytes.len() >= self.wanted();
        self.same(goes_on, sealers, |chunk, _| {
            part(chunk).is_some_and(|bytes| id_of(bytes) == chunk.id)
        })
    }

    /// Those that are where they were in `file`, which several threads read. What cannot be read is not the same: whoever reads
    /// it in turn meets the error.
    pub(super) fn in_file(&self, file: &File, sealers: &ThreadPool) -> Same {
        let end = self
            .chunks
            .last()
            .map_or(0, |last| last.at + last.length as u64);
        if let Some(first) = self.chunks.first() {
            // Threads in several places look like no reader that goes on. A filesystem that takes no advice reads as it likes.
            let length = NonZeroU64::new(end - first.at);
            rustix::fs::fadvise(file, first.at, length, Advice::WillNeed).ok();
        }
        let goes_on = file.read_at(&mut [0], end).is_ok_and(|count| count > 0);
        self.same(goes_on, sealers, |chunk, buffer| {
            buffer.resize(chunk.length, 0);
            file.read_exact_at(buffer, chunk.at).is_ok() && id_of(buffer) == chunk.id
        })
    }

    /// The first ones that `is_same` agrees to, as `sealers` find out together; the last one of the parent's file only where this
    /// one does not go on behind it.
    fn same(
        &self,
        goes_on: bool,
        sealers: &ThreadPool,
        is_same: impl Fn(&Expected, &mut Vec<u8>) -> bool + Sync,
    ) -> Same {
        let chunks = match self.chunks.split_last() {
            Some((_, before)) if self.ends_file && goes_on => before,
            _ => self.chunks,
        };
        let same = match chunks {
            [] => 0,
            [one] => usize::from(is_same(one, &mut Vec::new())),
            several => sealers
                .install(|| {
                    several
                        .into_par_iter()
                        .map_init(Vec::new, |buffer, chunk| is_same(chunk, buffer))
                        .position_first(|same| !same)
                })
                .unwrap_or(several.len()),
        };
        let same = chunks[..same].iter();
        same.map(|chunk| (chunk.id, chunk.length)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

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
        let ahead = guide.ahead(at as u64, MOST);
        let end = (at + ahead.wanted()).min(file.len());
        let in_bytes = ahead.in_bytes(&file[at..end], &sealers);
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut written = File::from(rustix::fs::memfd_create("guide", flags).unwrap());
        written.write_all(file).unwrap();
        assert_eq!(ahead.in_file(&written, &sealers), in_bytes);
        in_bytes.into_iter().map(|(_, length)| length).collect()
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

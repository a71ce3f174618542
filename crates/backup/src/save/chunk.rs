//! Cuts files where their content says so, with restic's polynomial, so that a change in the middle moves no other cut.
//!
//! A chunk has 512 KiB to 8 MiB. It ends behind the first byte, after the least length, at which the Rabin fingerprint of the
//! last 64 bytes has twenty zero bits.

use std::io::{self, Read};

use rustic_cdc::{Polynom64, Rabin64};
use rustic_core::Id;

use super::packs::Packs;
use crate::error::BackupError;
use crate::index::BlobKind;
use crate::repository::Repository;

pub(super) const LEAST: usize = 512 * 1024;
pub(super) const MOST: usize = 8 * 1024 * 1024;
const WINDOW: usize = 64;
const MASK: u64 = (1 << 20) - 1;
/// How much is read at a time, once the least is there.
const STEP: usize = 1024 * 1024;
/// Places at which the fingerprint is followed at once: each byte waits for the one before it, other places do not.
const LANES: usize = 4;
const LANE: usize = 16 * 1024;

/// The tables for one polynomial.
pub(super) struct Cutter {
    out: [Polynom64; 256],
    modulo: [Polynom64; 256],
    shift: u32,
}

impl Cutter {
    /// `None` when the text is no polynomial that can be used.
    pub(super) fn new(polynomial: &str) -> Option<Self> {
        let polynomial = u64::from_str_radix(polynomial, 16).ok()?;
        let degree = polynomial.checked_ilog2()?;
        if !(16..56).contains(&degree) {
            return None;
        }
        Some(Self {
            out: Rabin64::calculate_out_table(WINDOW, &polynomial),
            modulo: Rabin64::calculate_mod_table(&polynomial),
            shift: degree - 8,
        })
    }

    fn push(&self, hash: u64, byte: u8) -> u64 {
        // The byte that leaves the polynomial's degree.
        let over = (hash >> self.shift).to_le_bytes()[0];
        ((hash << 8) | u64::from(byte)) ^ self.modulo[usize::from(over)]
    }

    /// The fingerprint of the window that ends before `end`.
    fn fingerprint(&self, data: &[u8], end: usize) -> u64 {
        data[end - WINDOW..end]
            .iter()
            .fold(0, |hash, byte| self.push(hash, *byte))
    }

    /// The first end of a chunk in `from..=to`, where the data before an end is in the chunk.
    fn cut(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        let mut end = from;
        while end + LANES * LANE <= to {
            if let Some(found) = self.cut_in_lanes(data, end) {
                return Some(found);
            }
            end += LANES * LANE;
        }
        let mut hash = self.fingerprint(data, end);
        loop {
            if hash & MASK == 0 {
                return Some(end);
            }
            if end >= to {
                return None;
            }
            hash = self.push(hash ^ self.out[usize::from(data[end - WINDOW])], data[end]);
            end += 1;
        }
    }

    /// Like [`Cutter::cut`] for `from..from + LANES * LANE`.
    fn cut_in_lanes(&self, data: &[u8], from: usize) -> Option<usize> {
        let mut hashes: [u64; LANES] =
            std::array::from_fn(|lane| self.fingerprint(data, from + lane * LANE));
        let mut found = [None; LANES];
        let leaving: [&[u8]; LANES] =
            std::array::from_fn(|lane| &data[from + lane * LANE - WINDOW..][..LANE]);
        // The last byte of the last lane may be the last of the data.
        let coming: [&[u8]; LANES] =
            std::array::from_fn(|lane| &data[from + lane * LANE..][..LANE]);
        for at in 0..LANE {
            for lane in 0..LANES {
                let hash = hashes[lane];
                if hash & MASK == 0 && found[lane].is_none() {
                    found[lane] = Some(from + lane * LANE + at);
                    if lane == 0 {
                        return found[0];
                    }
                }
                let without = hash ^ self.out[usize::from(leaving[lane][at])];
                hashes[lane] = self.push(without, coming[lane][at]);
            }
        }
        found.into_iter().flatten().next()
    }
}

/// The chunks of a stream.
pub(super) struct Chunks<'a, R> {
    cutter: &'a Cutter,
    reader: R,
    /// Read, and of no chunk yet.
    pending: Vec<u8>,
    ended: bool,
}

impl<'a, R: Read> Chunks<'a, R> {
    pub(super) fn new(cutter: &'a Cutter, reader: R) -> Self {
        Self {
            cutter,
            reader,
            pending: Vec::new(),
            ended: false,
        }
    }

    /// Whether the next chunk begins at what was not read yet.
    pub(super) fn is_between(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// What the next chunk begins with: `length` bytes and maybe more, less where the stream ends.
    pub(super) fn peek(&mut self, length: usize) -> io::Result<&[u8]> {
        self.fill(length)?;
        Ok(&self.pending[..length.min(self.pending.len())])
    }

    /// Takes bytes that were looked at as a chunk.
    pub(super) fn skip(&mut self, length: usize) {
        self.pending.drain(..length);
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.fill(LEAST)?;
        let mut from = LEAST;
        let end = loop {
            if self.pending.len() < from || (self.ended && self.pending.len() <= LEAST) {
                break self.pending.len();
            }
            let to = self.pending.len().min(MOST);
            if let Some(end) = self.cutter.cut(&self.pending, from, to) {
                break end;
            }
            if to == MOST {
                break MOST;
            }
            if self.ended {
                break to;
            }
            from = to + 1;
            self.fill((to + STEP).min(MOST))?;
        };
        if end == 0 {
            return Ok(None);
        }
        let rest = self.pending.split_off(end);
        Ok(Some(std::mem::replace(&mut self.pending, rest)))
    }

    fn fill(&mut self, length: usize) -> io::Result<()> {
        let missing = length.saturating_sub(self.pending.len());
        if missing > 0 && !self.ended {
            self.pending.reserve_exact(missing);
            let got = (&mut self.reader)
                .take(missing as u64)
                .read_to_end(&mut self.pending)?;
            self.ended = got < missing;
        }
        Ok(())
    }
}

/// Stores something small as one blob, or as none when it is empty.
pub(super) fn whole(
    repository: &Repository,
    packs: &Packs<'_>,
    bytes: &[u8],
) -> Result<Vec<Id>, BackupError> {
    let Some(cutter) = Cutter::new(&repository.config.chunker_polynomial) else {
        return Err(repository.damaged("config"));
    };
    let mut chunks = Chunks::new(&cutter, bytes);
    let mut content = Vec::new();
    let memory = || repository.damaged("memory");
    while let Some(chunk) = chunks.next().map_err(|_| memory())? {
        content.push(packs.add(BlobKind::Data, &chunk)?);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLYNOMIAL: &str = "3DA3358B4DC173";

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[4]
            })
            .collect()
    }

    fn lengths(data: &[u8]) -> Vec<usize> {
        let cutter = Cutter::new(POLYNOMIAL).unwrap();
        let mut chunks = Chunks::new(&cutter, data);
        let mut lengths = Vec::new();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().unwrap() {
            lengths.push(chunk.len());
            all.extend_from_slice(&chunk);
        }
        assert!(all == data, "the chunks are the data");
        lengths
    }

    /// The definition, without tricks.
    fn slow_lengths(data: &[u8]) -> Vec<usize> {
        let cutter = Cutter::new(POLYNOMIAL).unwrap();
        let mut lengths = Vec::new();
        let mut rest = data;
        while !rest.is_empty() {
            let most = rest.len().min(MOST);
            let end = (LEAST..most).find(|end| cutter.fingerprint(rest, *end) & MASK == 0);
            let end = end.unwrap_or(most);
            lengths.push(end);
            rest = &rest[end..];
        }
        lengths
    }

    #[test]
    fn cuts_are_where_they_are_defined() {
        let mut data = noise(7 * 1024 * 1024 + 123);
        assert_eq!(lengths(&data), slow_lengths(&data));
        data.drain(..1000);
        data.truncate(3 * 1024 * 1024);
        assert_eq!(lengths(&data), slow_lengths(&data));
    }

    #[test]
    fn small_zero_and_endless_content() {
        for length in [1, LEAST - 1, LEAST, LEAST + 1] {
            let data = noise(length);
            assert_eq!(lengths(&data), slow_lengths(&data), "{length}");
        }
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&vec![0; 3 * LEAST + 5]), [LEAST, LEAST, LEAST, 5]);
        // No fingerprint of a window of ones ends in zeros.
        assert_eq!(lengths(&vec![1; MOST + 7]), [MOST, 7]);
    }

    /// The cuts of restic itself for its own test data: changing them would store everything again.
    #[test]
    fn an_insertion_moves_nothing_behind_it() {
        let data = noise(12 * 1024 * 1024);
        let before = lengths(&data);
        let mut changed = data;
        changed.splice(100..100, [1, 2, 3]);
        let after = lengths(&changed);
        assert_eq!(before.last(), after.last());
        assert!(before.len().abs_diff(after.len()) <= 1);
    }
}

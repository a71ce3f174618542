//! Which parts of a sparse member are in the archive.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::header::{BLOCK, number};
use crate::pax;

/// More pieces than any file that is worth it; bounds memory.
pub(crate) const MOST_PIECES: usize = 1 << 20;

/// A piece of a file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Whether the pieces ascend without overlap inside a file of `size` bytes, and are `stored` bytes in all.
pub(crate) fn is_sound(pieces: &[Piece], size: u64, stored: u64) -> bool {
    let mut at = 0;
    let mut sum: u64 = 0;
    for piece in pieces {
        if piece.offset < at
            || piece
                .offset
                .checked_add(piece.length)
                .is_none_or(|end| end > size)
        {
            return false;
        }
        at = piece.end();
        sum += piece.length;
    }
    sum == stored
}

/// Reads the table that the old GNU format has in headers; it ends with an empty row. `None` for malformed numbers.
pub(crate) fn old_gnu_rows(table: &[u8], pieces: &mut Vec<Piece>) -> Option<()> {
    for row in table.chunks_exact(24) {
        if row[0] == 0 || row[12] == 0 {
            break;
        }
        pieces.push(Piece {
            offset: number(&row[..12])?.try_into().ok()?,
            length: number(&row[12..])?.try_into().ok()?,
        });
    }
    Some(())
}

/// Reads the comma-separated map of the PAX formats before 1.0.
pub(crate) fn from_list(list: &[u8]) -> Option<Vec<Piece>> {
    let numbers: Vec<u64> = list
        .split(|byte| *byte == b',')
        .filter(|text| !text.is_empty())
        .map(pax::decimal)
        .collect::<Option<_>>()?;
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MOST_PIECES {
        return None;
    }
    Some(
        numbers
            .chunks_exact(2)
            .map(|pair| Piece {
                offset: pair[0],
                length: pair[1],
            })
            .collect(),
    )
}

/// The map that stands before the data in the PAX 1.0 format, filled up to whole blocks.
pub(crate) fn to_map(pieces: &[Piece]) -> Vec<u8> {
    let mut map = format!("{}\n", pieces.len());
    for piece in pieces {
        map.push_str(&format!("{}\n{}\n", piece.offset, piece.length));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// The pieces of an open file of `size` bytes that are not holes, closed by an empty piece when it ends with a hole, as
/// readers expect. `None` when it has no holes, or too many.
pub(crate) fn of_file(file: BorrowedFd<'_>, size: u64) -> io::Result<Option<Vec<Piece>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => size,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if start == size {
            break;
        }
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            // Cut meanwhile.
            break;
        }
        pieces.push(Piece {
            offset: start,
            length: end - start,
        });
        at = end;
    }
    let data: u64 = pieces.iter().map(|piece| piece.length).sum();
    if data == size || pieces.len() > MOST_PIECES - 1 {
        return Ok(None);
    }
    if at < size || pieces.is_empty() {
        pieces.push(Piece {
            offset: size,
            length: 0,
        });
    }
    Ok(Some(pieces))
}

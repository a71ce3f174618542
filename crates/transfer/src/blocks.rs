//! Files in blocks: those that hold anything, one after the other, holes left out.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::entry::Digest;

/// Bytes of a block; the last one of a file may have fewer. Part of the format.
pub(crate) const BLOCK: usize = 128 << 10;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

pub(crate) fn at(index: u64) -> u64 {
    index.saturating_mul(BLOCK as u64)
}

/// How many bytes a block of a file of `size` bytes has; `None` when the file has no such block.
pub(crate) fn length(index: u64, size: u64) -> Option<usize> {
    let left = size.checked_sub(at(index)).filter(|&left| left > 0)?;
    Some(usize::try_from(left).unwrap_or(BLOCK).min(BLOCK))
}

/// Calls `each` with every block of the first `size` bytes that is not all zeros. What the file has lost meanwhile is zero.
pub(crate) fn each<E: From<io::Error>>(
    file: BorrowedFd<'_>,
    size: u64,
    mut each: impl FnMut(u64, &[u8], Digest) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; BLOCK];
    let mut places = Places::new(file, size, 0..u64::MAX);
    while let Some((index, length)) = places.next()? {
        let block = &mut buffer[..length];
        read(file, block, at(index))?;
        if *block != ZEROS[..length] {
            each(index, block, Digest::of(block))?;
        }
    }
    Ok(())
}

/// The blocks within `range` of the first `size` bytes that are not all zeros, and how many bytes were read for that: what
/// `believed` has a digest of is not.
pub(crate) fn digests(
    file: BorrowedFd<'_>,
    size: u64,
    range: Range<u64>,
    believed: impl Fn(u64) -> Option<Digest>,
) -> io::Result<(Vec<(u64, Digest)>, u64)> {
    let mut buffer = Vec::new();
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    let mut places = Places::new(file, size, range);
    while let Some((index, length)) = places.next()? {
        if let Some(digest) = believed(index) {
            blocks.push((index, digest));
            continue;
        }
        buffer.resize(length, 0);
        read(file, &mut buffer, at(index))?;
        bytes += length as u64;
        if buffer != ZEROS[..length] {
            blocks.push((index, Digest::of(&buffer)));
        }
    }
    Ok((blocks, bytes))
}

/// A block of the first `size` bytes, with its digest if it is not all zeros.
pub(crate) fn one(
    file: BorrowedFd<'_>,
    size: u64,
    index: u64,
) -> io::Result<(Vec<u8>, Option<Digest>)> {
    let mut block = vec![0; length(index, size).unwrap_or(0)];
    read(file, &mut block, at(index))?;
    let digest = (block != ZEROS[..block.len()]).then(|| Digest::of(&block));
    Ok((block, digest))
}

/// Where a file may hold anything but zeros.
struct Places<'f> {
    file: BorrowedFd<'f>,
    size: u64,
    index: u64,
    end: u64,
    /// Up to where there is data for certain.
    until: u64,
}

impl<'f> Places<'f> {
    fn new(file: BorrowedFd<'f>, size: u64, range: Range<u64>) -> Self {
        Self {
            file,
            size,
            index: range.start,
            end: range.end,
            until: 0,
        }
    }

    /// The next block, and its length.
    fn next(&mut self) -> io::Result<Option<(u64, usize)>> {
        loop {
            if self.index >= self.end {
                return Ok(None);
            }
            let Some(wanted) = length(self.index, self.size) else {
                return Ok(None);
            };
            let here = at(self.index);
            if here >= self.until {
                let Some((start, end)) = data(self.file, here)? else {
                    return Ok(None);
                };
                self.until = end;
                if start > here {
                    self.index = start / BLOCK as u64;
                    continue;
                }
            }
            self.index += 1;
            return Ok(Some((self.index - 1, wanted)));
        }
    }
}

/// The next stretch of data from `from` on, which begins with the block of `from` if that has any.
fn data(file: BorrowedFd<'_>, from: u64) -> rustix::io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // No holes can be found on this filesystem.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((from, u64::MAX))),
        Err(error) => return Err(error),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => end,
        // Cut since.
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Data that begins within this block is this block's.
    let same = start / BLOCK as u64 == from / BLOCK as u64;
    Ok(Some((if same { from } else { start }, end)))
}

fn read(file: BorrowedFd<'_>, block: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < block.len() {
        match rustix::io::pread(file, &mut block[done..], at + done as u64) {
            Ok(0) => {
                block[done..].fill(0);
                break;
            }
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

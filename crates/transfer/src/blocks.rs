//! Files in blocks: those that hold anything, one after the other, holes left out.

use std::io;
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
    let mut index = 0;
    // Up to where there is data for certain.
    let mut until = 0;
    while let Some(wanted) = length(index, size) {
        if at(index) >= until {
            match data(file, at(index)).map_err(io::Error::from)? {
                Some((start, end)) => {
                    until = end;
                    if start > at(index) {
                        index = start / BLOCK as u64;
                        continue;
                    }
                }
                None => break,
            }
        }
        let block = &mut buffer[..wanted];
        read(file, block, at(index))?;
        if *block != ZEROS[..wanted] {
            each(index, block, Digest::of(block))?;
        }
        index += 1;
    }
    Ok(())
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

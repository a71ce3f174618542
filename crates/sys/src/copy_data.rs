//! Copies what is in a file into an empty one: shared with the source if possible, holes kept otherwise.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::dir::Stat;

/// Up to here reading and writing is faster than asking the kernel to copy.
const SMALL: usize = 128 * 1024;
/// Bytes that are copied in one go. A call of the kernel that copies cannot be stopped; one for so many costs nothing.
pub(crate) const PIECE: u64 = 8 << 20;
/// Below that, sharing costs more than the bytes: it changes two files and the filesystem's reference counts.
const WORTH_SHARING: u64 = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL]);
}

/// Whether the two filesystems can share data; found out by the first file.
#[derive(Debug)]
pub(crate) struct Reflink {
    impossible: AtomicBool,
    /// The bytes of a file were copied.
    copied: AtomicBool,
    /// Length of the shortest file that is worth it.
    least: u64,
    /// The copy shall have every byte to itself.
    never: bool,
}

impl Reflink {
    /// `always`: what a copy takes matters more than how long it takes.
    pub(crate) fn new(always: bool) -> Self {
        Self {
            impossible: AtomicBool::new(false),
            copied: AtomicBool::new(false),
            least: if always { 1 } else { WORTH_SHARING },
            never: false,
        }
    }

    /// Nothing is shared, whatever could be.
    pub(crate) fn never() -> Self {
        Self {
            impossible: AtomicBool::new(true),
            never: true,
            ..Self::new(false)
        }
    }

    /// Whether every file that was copied, and held anything, shares its data with its source.
    pub(crate) fn shared_all(&self) -> bool {
        !self.copied.load(Ordering::Relaxed)
    }
}

/// Copies the `stat.size` bytes of `src` to `dst`, or fewer when `src` has become shorter. `goes_on` is told of each piece that
/// was copied; once it says no the rest is left out. Of data that is shared it hears nothing.
pub(crate) fn copy(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    stat: &Stat,
    reflink: &Reflink,
    goes_on: &dyn Fn(u64) -> bool,
) -> io::Result<()> {
    if stat.size == 0 {
        return Ok(());
    }
    if stat.size >= reflink.least && !reflink.impossible.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(dst, src) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) => {
                reflink.impossible.store(true, Ordering::Relaxed);
            }
            // This file cannot be shared: other flags, swapped, inline data.
            Err(Errno::INVAL | Errno::PERM | Errno::TXTBSY | Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    reflink.copied.store(true, Ordering::Relaxed);
    if stat.blocks.saturating_mul(512) >= stat.size {
        return range(src, dst, 0, stat.size, reflink, goes_on).map(drop);
    }
    let mut at = 0;
    while at < stat.size {
        let start = match rustix::fs::seek(src, SeekFrom::Data(at)) {
            Ok(start) if start < stat.size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // No holes can be found on this filesystem.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                return range(src, dst, at, stat.size, reflink, goes_on).map(drop);
            }
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(src, SeekFrom::Hole(start))?.min(stat.size);
        if !range(src, dst, start, end, reflink, goes_on)? {
            return Ok(());
        }
        // The file may have been cut since.
        at = end.max(start + 1);
    }
    rustix::fs::ftruncate(dst, stat.size)?;
    Ok(())
}

/// Whether it goes on.
fn range(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    start: u64,
    end: u64,
    reflink: &Reflink,
    goes_on: &dyn Fn(u64) -> bool,
) -> io::Result<bool> {
    // A kernel that is asked to copy shares where it can.
    if reflink.never || end - start <= SMALL as u64 {
        return through_memory(src, dst, start, end, goes_on);
    }
    let mut from = start;
    let mut to = start;
    while from < end {
        let length = usize::try_from((end - from).min(PIECE)).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(src, Some(&mut from), dst, Some(&mut to), length) {
            // The end of the file, or a filesystem that cannot and does not say so.
            Ok(0) => return through_memory(src, dst, from, end, goes_on),
            Ok(copied) => {
                if !goes_on(copied as u64) {
                    return Ok(false);
                }
            }
            Err(Errno::INTR) => {}
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::PERM
                | Errno::TXTBSY
                | Errno::OVERFLOW,
            ) => return through_memory(src, dst, from, end, goes_on),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn through_memory(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    start: u64,
    end: u64,
    goes_on: &dyn Fn(u64) -> bool,
) -> io::Result<bool> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(SMALL).min(SMALL);
            let read = match rustix::io::pread(src, &mut buffer[..length], at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut written = 0;
            while written < read {
                match rustix::io::pwrite(dst, &buffer[written..read], at + written as u64) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(some) => written += some,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            at += read as u64;
            if !goes_on(read as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

//! Files that hold a filesystem: made with holes, copied as a whole, given another length.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

/// Makes the file `path`, of mode 0600 and nothing but a hole of `bytes`.
///
/// # Errors
/// `AlreadyExists`; any other of the kernel's.
pub fn create(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_len(bytes)
}

/// Gives the file another length and waits until that is on disk.
///
/// # Errors
/// Any of the kernel's.
pub fn resize(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// Length of a file; `None` when there is none.
///
/// # Errors
/// Any of the kernel's but that.
pub fn length(path: &Path) -> io::Result<Option<u64>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(u64::try_from(stat.st_size).ok()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes `to` a copy of `from` at one instant that shares its data, of mode 0600; `false`, with nothing made, where files
/// cannot share data.
///
/// # Errors
/// `AlreadyExists`; any other of the kernel's.
pub fn share(from: &Path, to: &Path) -> io::Result<bool> {
    let source = File::open(from)?;
    let copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    match rustix::fs::ioctl_ficlone(&copy, &source) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS | Errno::INVAL) => {
            rustix::fs::unlink(to)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody may write to the file.
///
/// # Errors
/// Any of the kernel's.
pub fn is_sealed(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::lstat(path)?.st_mode & 0o222 == 0)
}

/// Lets nobody, or its owner, write to the file.
///
/// # Errors
/// Any of the kernel's.
pub fn seal(path: &Path, sealed: bool) -> io::Result<()> {
    let mode = if sealed { 0o400 } else { 0o600 };
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
}

/// Waits until what the file holds is on disk.
///
/// # Errors
/// Any of the kernel's.
pub fn sync(path: &Path) -> io::Result<()> {
    crate::durable::sync_fd(File::open(path)?.as_fd())
}

/// How many bytes the ext4 on a file or device says that it has.
///
/// # Errors
/// `InvalidData` when there is none; any other of the kernel's.
pub fn ext4_length(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut block = [0_u8; 1024];
    File::open(path)?.read_exact_at(&mut block, 1024)?;
    let number =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if block[0x38..0x3A] != [0x53, 0xEF] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The upper half counts only where the filesystem has 64-bit numbers.
    let high = if number(0x60) & 0x80 == 0 {
        0
    } else {
        number(0x150)
    };
    let blocks = (u64::from(high) << 32) | u64::from(number(0x4));
    Ok(blocks.saturating_mul(1024_u64.checked_shl(number(0x18)).unwrap_or(0)))
}

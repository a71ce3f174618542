//! Inodes of XFS by their numbers: many of them with one call, and no name is looked up.
//!
//! What is told is what the kernel knows, on disk or not; but for the size of a file, which is the one on disk. Needs
//! `CAP_SYS_ADMIN`, and a mount that leaves owners as they are.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::FileType;

use crate::dir::Time;
use crate::filesystem_kind;

/// `XFS_IOC_BULKSTAT`.
const BULKSTAT: u32 = 0x8040_587F;
/// Inodes that are read with one call: they fit into the cache of a processor.
const AT_ONCE: usize = 512;

/// The kernel's `struct xfs_bulk_ireq`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Request {
    /// The first inode that may be told.
    from: u64,
    flags: u32,
    room: u32,
    told: u32,
    group: u32,
    reserved: [u64; 5],
}

/// The kernel's `struct xfs_bulkstat`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Inode {
    number: u64,
    size: u64,
    blocks_and_flags: [u64; 2],
    atime_and_mtime: [i64; 2],
    ctime: i64,
    btime: i64,
    generation_and_owners: [u32; 4],
    atime_and_mtime_nanoseconds: [u32; 2],
    ctime_nanoseconds: u32,
    btime_nanoseconds: u32,
    sizes_and_device: [u32; 4],
    nlink: u32,
    extents: [u32; 2],
    state: [u16; 4],
    mode: u16,
    padding: u16,
    reserved: [u64; 7],
}

const _: () = assert!(size_of::<Request>() == 64 && size_of::<Inode>() == 192);

impl Inode {
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode.into())
    }

    #[must_use]
    pub fn nlink(&self) -> u32 {
        self.nlink
    }

    /// On disk: what was written since the last writeback is not in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn ctime(&self) -> Time {
        Time {
            seconds: self.ctime,
            nanoseconds: self.ctime_nanoseconds,
        }
    }
}

/// What the kernel reads and writes.
#[repr(C)]
struct Call {
    request: Request,
    inodes: [Inode; AT_ONCE],
}

/// Room for the inodes of a call.
pub struct Inodes(Box<Call>);

impl std::fmt::Debug for Inodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inodes").finish_non_exhaustive()
    }
}

impl Default for Inodes {
    fn default() -> Self {
        Self(Box::new(Call {
            request: Request::default(),
            inodes: [Inode::default(); AT_ONCE],
        }))
    }
}

impl Inodes {
    /// The inodes in use from the number `from` on in the filesystem that `fd` lies on, in their order, `most` of them or
    /// fewer; none only behind the last one.
    ///
    /// # Errors
    /// Any of the kernel's: without the right to ask it is `PermissionDenied`. Ask [`is_xfs`] first.
    pub fn read(&mut self, fd: BorrowedFd<'_>, from: u64, most: u64) -> io::Result<&[Inode]> {
        let room = u32::try_from(most.min(AT_ONCE as u64)).expect("it is a small number");
        self.0.request = Request {
            from,
            room,
            ..Request::default()
        };
        let call = &raw mut *self.0;
        // SAFETY: `call` begins with the struct that the request reads, and has room for as many inodes as that says behind
        // it; it lives until the call returns, and nobody else has it. Every pattern of bits is a value of these structs.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), BULKSTAT as _, call) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let told = usize::try_from(self.0.request.told).unwrap_or(usize::MAX);
        self.0.inodes.get(..told).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "more inodes than there is room")
        })
    }
}

/// Whether `fd` lies on an XFS: elsewhere the number of what [`Inodes::read`] asks may mean something else.
///
/// # Errors
/// Those of `fstatfs`.
pub fn is_xfs(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(filesystem_kind::of(fd)? == filesystem_kind::XFS)
}

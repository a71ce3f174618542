//! btrfs: subvolumes, which are copied as a whole in no time, and removed as a whole.
//!
//! Where it is asked of a directory of another filesystem, the answer is no, never an error.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::io::Errno;

use crate::{dir, filesystem_kind};

/// `BTRFS_FIRST_FREE_OBJECTID`: the inode number of the root of every subvolume.
pub(crate) const ROOT_INODE: u64 = 256;
/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 1 << 1;

const SUBVOL_CREATE: libc::c_ulong = 0x5000_940E;
const SNAP_DESTROY: libc::c_ulong = 0x5000_940F;
const SNAP_CREATE_V2: libc::c_ulong = 0x5000_9417;
const SUBVOL_GETFLAGS: libc::c_ulong = 0x8008_9419;
const SUBVOL_SETFLAGS: libc::c_ulong = 0x4008_941A;
const GET_SUBVOL_INFO: libc::c_ulong = 0x81F8_943C;

/// The kernel's `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// The kernel's `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct Copied {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// The kernel's `struct btrfs_ioctl_get_subvol_info_args`.
#[repr(C)]
struct Described {
    id: u64,
    name: [u8; 256],
    parent: u64,
    directory: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    rest: [u64; 20],
}

/// Whether the directory lies on a btrfs.
///
/// # Errors
/// Those of `fstatfs`.
pub fn is_btrfs(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(filesystem_kind::of(dir)? == filesystem_kind::BTRFS)
}

/// Whether the directory is the root of a subvolume.
///
/// # Errors
/// Those of `fstat` and `fstatfs`.
pub fn is_subvolume(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(dir::stat(dir)?.ino == ROOT_INODE && is_btrfs(dir)?)
}

/// Makes an empty subvolume `name` in `parent`, on a btrfs.
///
/// # Errors
/// `AlreadyExists`; any other of the kernel's.
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let arguments = Named {
        fd: 0,
        name: padded(name)?,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    let result =
        unsafe { libc::ioctl(parent.as_raw_fd(), SUBVOL_CREATE as _, &raw const arguments) };
    done(result)
}

/// Makes `name` in `parent` a copy of the subvolume `source` as it is at one instant; what programs have written by then
/// is in it. Subvolumes inside of it are empty directories in the copy. It is on disk when the call returns.
///
/// # Errors
/// `AlreadyExists`; `CrossesDevices` when `parent` lies on another filesystem; any other of the kernel's.
pub fn snapshot(
    source: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    read_only: bool,
) -> io::Result<()> {
    let arguments = Copied {
        fd: source.as_raw_fd().into(),
        transid: 0,
        flags: if read_only { READ_ONLY } else { 0 },
        unused: [0; 4],
        name: padded(name)?,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    let result = unsafe {
        libc::ioctl(
            parent.as_raw_fd(),
            SNAP_CREATE_V2 as _,
            &raw const arguments,
        )
    };
    done(result)
}

/// Removes the subvolume `name` of `parent` with everything in it, at once; its blocks become free in the background.
///
/// # Errors
/// `DirectoryNotEmpty` when there are subvolumes in it; any other of the kernel's.
pub fn delete_subvolume(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let arguments = Named {
        fd: 0,
        name: padded(name)?,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    let result =
        unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_DESTROY as _, &raw const arguments) };
    done(result)?;
    // A directory that is synced by itself after this leaves a log that the kernel may fail to replay: see
    // `durable::is_subvolume`.
    Ok(rustix::fs::syncfs(parent)?)
}

/// Whether the subvolume `root` was made by [`snapshot`], of any other, which may be gone by now. No before Linux 4.18.
///
/// # Errors
/// Any of the kernel's.
pub fn is_copy(root: BorrowedFd<'_>) -> io::Result<bool> {
    let mut info = Described {
        id: 0,
        name: [0; 256],
        parent: 0,
        directory: 0,
        generation: 0,
        flags: 0,
        uuid: [0; 16],
        parent_uuid: [0; 16],
        received_uuid: [0; 16],
        rest: [0; 20],
    };
    // SAFETY: `info` is the struct that the request writes, and lives until the call returns.
    match done(unsafe { libc::ioctl(root.as_raw_fd(), GET_SUBVOL_INFO as _, &raw mut info) }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(false),
        other => other.map(|()| info.parent_uuid != [0; 16]),
    }
}

/// Whether nobody may change the subvolume `root`.
///
/// # Errors
/// Any of the kernel's.
pub fn is_read_only(root: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(flags(root)? & READ_ONLY != 0)
}

fn flags(root: BorrowedFd<'_>) -> io::Result<u64> {
    let mut flags = 0_u64;
    // SAFETY: the request writes one u64 to where `flags` is.
    let result = unsafe { libc::ioctl(root.as_raw_fd(), SUBVOL_GETFLAGS as _, &raw mut flags) };
    done(result).map(|()| flags)
}

/// Lets nobody, or everybody who may, change the subvolume `root`.
///
/// # Errors
/// Any of the kernel's.
pub fn set_read_only(root: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let flags = flags(root)?;
    let wanted = if read_only {
        flags | READ_ONLY
    } else {
        flags & !READ_ONLY
    };
    if wanted == flags {
        return Ok(());
    }
    // SAFETY: the request reads one u64 from where `wanted` is.
    let result = unsafe { libc::ioctl(root.as_raw_fd(), SUBVOL_SETFLAGS as _, &raw const wanted) };
    done(result)
}

/// The name with a zero at its end.
fn padded<const N: usize>(name: &OsStr) -> io::Result<[u8; N]> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= N || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Errno::INVAL.into());
    }
    let mut padded = [0; N];
    padded[..bytes.len()].copy_from_slice(bytes);
    Ok(padded)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

//! Project quotas of ext4 and XFS: what files of one project take together is counted and bounded by the kernel.
//!
//! A directory that hands its project down gives it to everything that is made in it. The filesystem must be mounted with
//! project quotas (`prjquota`; ext4 needs the feature `project` too). `df` inside such a directory shows the bound.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};

const GET_ATTRIBUTES: libc::c_ulong = 0x801C_581F;
const SET_ATTRIBUTES: libc::c_ulong = 0x401C_5820;
/// `FS_XFLAG_PROJINHERIT`.
const INHERIT: u32 = 0x200;

const PROJECT: u32 = 2;
/// `Q_XGETQSTATV`.
const GET_STATE: u32 = 0x5808;
/// `FS_QSTATV_VERSION1`.
const STATE_VERSION: u64 = 1;
/// `FS_QUOTA_PDQ_ENFD`: bounds of projects are enforced.
const ENFORCED: u16 = 1 << 5;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// `QIF_LIMITS`: of blocks and inodes.
const LIMITS: u32 = 1 | 4;
/// Quotas are in blocks of this size.
const BLOCK: u64 = 1024;

/// The kernel's `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// The kernel's `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    hard_blocks: u64,
    soft_blocks: u64,
    bytes: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// What a project takes and may take; 0 is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    pub bytes: u64,
    pub inodes: u64,
    pub max_bytes: u64,
    pub max_inodes: u64,
}

/// Whether the filesystem of `dir` keeps projects within their bounds; one that only counts does not.
///
/// # Errors
/// Any of the kernel's but that it does not.
pub fn is_enforced(dir: BorrowedFd<'_>) -> io::Result<bool> {
    // `struct fs_quota_statv` has 160 bytes: a version of 8 bits, 8 unused ones, 16 of flags, and what is not needed here.
    let mut state = [0_u64; 32];
    state[0] = STATE_VERSION.to_le();
    match quotactl(dir, GET_STATE, 0, state.as_mut_ptr().cast()) {
        Ok(()) => {
            let bytes = state[0].to_ne_bytes();
            Ok(u16::from_ne_bytes([bytes[2], bytes[3]]) & ENFORCED != 0)
        }
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(
                    libc::ESRCH
                        | libc::ENOSYS
                        | libc::EINVAL
                        | libc::ENOTBLK
                        | libc::EOPNOTSUPP
                        | libc::ENOTTY
                        | libc::ENODEV
                )
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The project that `dir` hands down; `None` when it hands none down, or its filesystem has none.
///
/// # Errors
/// Any of the kernel's.
pub fn of(dir: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    match attributes(dir) {
        Ok(found) => {
            Ok((found.flags & INHERIT != 0 && found.project != 0).then_some(found.project))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes everything in the tree `root`, and what will be made in it, part of `project`. Links and devices, which take no
/// blocks, stay as they are; so do other filesystems that are mounted in it. What users remove or replace meanwhile is left out: what
/// they make is part of the project by itself.
///
/// # Errors
/// Any of the kernel's. Repeated it does what an attempt that was cut short has left.
pub fn assign(root: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let device = crate::dir::stat(root)?.dev;
    assign_directory(root, project, device)
}

fn assign_directory(dir: BorrowedFd<'_>, project: u32, device: u64) -> io::Result<()> {
    give(dir, project, true)?;
    for entry in crate::dir::read_dir(dir)? {
        match assign_entry(dir, &entry.name, project, device) {
            Err(error) if crate::is_gone(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

fn assign_entry(dir: BorrowedFd<'_>, name: &OsStr, project: u32, device: u64) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = crate::dir::stat_at(dir, name)?;
    match stat.kind() {
        FileType::Directory if stat.dev == device => {
            let child = crate::dir::open_at(dir, name)?;
            assign_directory(child.as_fd(), project, device)
        }
        FileType::RegularFile => {
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            match give(file.as_fd(), project, false) {
                // It is a fifo or a device by now.
                Err(_) if crate::dir::stat(file.as_fd())?.kind() != FileType::RegularFile => Ok(()),
                other => other,
            }
        }
        _ => Ok(()),
    }
}

fn give(file: BorrowedFd<'_>, project: u32, inherit: bool) -> io::Result<()> {
    let mut found = attributes(file)?;
    let flags = if inherit {
        found.flags | INHERIT
    } else {
        found.flags
    };
    if found.project == project && found.flags == flags {
        return Ok(());
    }
    found.project = project;
    found.flags = flags;
    // SAFETY: `found` is the struct that the request reads, and lives until the call returns.
    done(unsafe { libc::ioctl(file.as_raw_fd(), SET_ATTRIBUTES as _, &raw const found) })
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    // SAFETY: `found` is the struct that the request writes, and lives until the call returns.
    done(unsafe { libc::ioctl(file.as_raw_fd(), GET_ATTRIBUTES as _, &raw mut found) })?;
    Ok(found)
}

/// What `project` takes and may take on the filesystem of `dir`; nothing of one that nobody has heard of.
///
/// # Errors
/// Any of the kernel's.
pub fn used(dir: BorrowedFd<'_>, project: u32) -> io::Result<Use> {
    let mut quota = Quota::default();
    match quotactl(dir, GET_QUOTA, project, (&raw mut quota).cast()) {
        Ok(()) => Ok(Use {
            bytes: quota.bytes,
            inodes: quota.inodes,
            max_bytes: quota.hard_blocks.saturating_mul(BLOCK),
            max_inodes: quota.hard_inodes,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Use::default()),
        Err(error) => Err(error),
    }
}

/// Bounds `project` on the filesystem of `dir`; `None` is no bound.
///
/// # Errors
/// Any of the kernel's.
pub fn limit(
    dir: BorrowedFd<'_>,
    project: u32,
    bytes: Option<u64>,
    inodes: Option<u64>,
) -> io::Result<()> {
    let blocks = bytes.map_or(0, |bytes| bytes.div_ceil(BLOCK).max(1));
    let inodes = inodes.unwrap_or(0);
    let mut quota = Quota {
        hard_blocks: blocks,
        soft_blocks: blocks,
        hard_inodes: inodes,
        soft_inodes: inodes,
        valid: LIMITS,
        ..Quota::default()
    };
    quotactl(dir, SET_QUOTA, project, (&raw mut quota).cast())
}

/// quotactl_fd(2), Linux 5.14.
fn quotactl(
    dir: BorrowedFd<'_>,
    command: u32,
    id: u32,
    address: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: each caller passes a buffer as large as what its command reads or writes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            dir.as_raw_fd(),
            (command << 8) | PROJECT,
            id,
            address,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

//! Limits of btrfs subvolumes: groups whose use is counted and bounded, and what the filesystem itself is.
//!
//! The kernel counts in one of two ways for a whole filesystem. *Simple* quotas (Linux 6.7) charge each extent to the
//! subvolume that wrote it for as long as anybody has it; *groups* count what a subvolume refers to, whoever wrote it.
//! Use is read from sysfs, in no time.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::btrfs_tree::{Key, QUOTA_TREE, ROOT_TREE, search};

const RESIZE: libc::c_ulong = 0x5000_9403;
const INO_LOOKUP: libc::c_ulong = 0xD000_9412;
const FS_INFO: libc::c_ulong = 0x8400_941F;
const DEV_INFO: libc::c_ulong = 0xD000_941E;
const QUOTA_CTL: libc::c_ulong = 0xC010_9428;
const QGROUP_ASSIGN: libc::c_ulong = 0x4018_9429;
const QGROUP_CREATE: libc::c_ulong = 0x4010_942A;
const QGROUP_LIMIT: libc::c_ulong = 0x8030_942B;
const QUOTA_RESCAN_WAIT: libc::c_ulong = 0x942E;

/// `BTRFS_QUOTA_CTL_ENABLE`.
const ENABLE: u64 = 1;
/// `BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA`.
const ENABLE_SIMPLE: u64 = 4;
/// `BTRFS_QGROUP_LIMIT_MAX_RFER`.
const MAX_REFERENCED: u64 = 1;
/// `BTRFS_QGROUP_RELATION_KEY`: a group and a member, or the other way round.
const RELATION: u32 = 246;
/// `BTRFS_ROOT_BACKREF_KEY`: where a subvolume has its name.
const ROOT_BACKREF: u32 = 144;
/// What clears a limit.
const CLEARED: u64 = u64::MAX;

/// How a filesystem counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By who wrote it.
    Simple,
    /// By who refers to it.
    Groups,
}

/// A group: `level << 48 | number`; that of a subvolume has level 0 and the subvolume's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(u64);

impl Group {
    /// The group of one subvolume.
    #[must_use]
    pub fn of_subvolume(id: u64) -> Self {
        Self(id)
    }

    /// A group of groups; only the lowest 48 bits of `number` count.
    #[must_use]
    pub fn of_groups(number: u64) -> Self {
        Self((1 << 48) | (number & 0xFFFF_FFFF_FFFF))
    }

    fn file_name(self) -> String {
        format!("{}_{}", self.0 >> 48, self.0 & 0xFFFF_FFFF_FFFF)
    }
}

/// The kernel's `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct FsInfo {
    max_id: u64,
    devices: u64,
    uuid: [u8; 16],
    rest: [u8; 992],
}

/// The kernel's `struct btrfs_ioctl_dev_info_args`.
#[repr(C)]
struct DevInfo {
    id: u64,
    uuid: [u8; 16],
    used: u64,
    bytes: u64,
    unused: [u64; 379],
    path: [u8; 1024],
}

/// One of the devices of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number in the filesystem.
    pub id: u64,
    /// What the filesystem takes of it.
    pub bytes: u64,
    pub path: PathBuf,
}

/// The kernel's `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// The kernel's `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// The kernel's `struct btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct Control {
    command: u64,
    status: u64,
}

/// The kernel's `struct btrfs_ioctl_qgroup_assign_args`.
#[repr(C)]
struct Assign {
    assign: u64,
    from: u64,
    to: u64,
}

/// The kernel's `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct Create {
    create: u64,
    group: u64,
}

/// The kernel's `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct Limit {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// The UUID of the filesystem on which `dir` lies.
///
/// # Errors
/// `ENOTTY` when it is no btrfs; any other of the kernel's.
pub fn uuid(dir: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    Ok(info(dir)?.uuid)
}

fn info(dir: BorrowedFd<'_>) -> io::Result<FsInfo> {
    let mut info = FsInfo {
        max_id: 0,
        devices: 0,
        uuid: [0; 16],
        rest: [0; 992],
    };
    // SAFETY: `info` is the struct that the request writes, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), FS_INFO as _, &raw mut info) })?;
    Ok(info)
}

/// The device of a filesystem on one; `None`: it is on several.
///
/// # Errors
/// Those of [`uuid`].
pub fn only_device(dir: BorrowedFd<'_>) -> io::Result<Option<Device>> {
    let FsInfo {
        max_id, devices, ..
    } = info(dir)?;
    if devices != 1 {
        return Ok(None);
    }
    // It was another one's successor if it is not the first.
    for id in 1..=max_id {
        let mut found = DevInfo {
            id,
            uuid: [0; 16],
            used: 0,
            bytes: 0,
            unused: [0; 379],
            path: [0; 1024],
        };
        // SAFETY: `found` is the struct that the request reads and writes, and lives until the call returns.
        match done(unsafe { libc::ioctl(dir.as_raw_fd(), DEV_INFO as _, &raw mut found) }) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let length = found.path.iter().position(|byte| *byte == 0);
                let path = &found.path[..length.unwrap_or(found.path.len())];
                return Ok(Some(Device {
                    id,
                    bytes: found.bytes,
                    path: PathBuf::from(OsStr::from_bytes(path)),
                }));
            }
        }
    }
    Ok(None)
}

/// The id of the subvolume in which `dir` lies.
///
/// # Errors
/// Any of the kernel's.
pub fn subvolume_id(dir: BorrowedFd<'_>) -> io::Result<u64> {
    let mut lookup = Lookup {
        tree: 0,
        // The root of every subvolume; 0 as the tree asks for the one of `dir`.
        object: 256,
        name: [0; 4080],
    };
    // SAFETY: `lookup` is the struct that the request reads and writes, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), INO_LOOKUP as _, &raw mut lookup) })?;
    Ok(lookup.tree)
}

/// How the filesystem of `dir` counts; `None`: not at all.
///
/// # Errors
/// Those of [`uuid`]; a sysfs that cannot be read.
pub fn mode(dir: BorrowedFd<'_>) -> io::Result<Option<Mode>> {
    match fs::read_to_string(directory(dir)?.join("mode")) {
        Ok(mode) => Ok(match mode.trim() {
            "squota" => Some(Mode::Simple),
            "qgroup" => Some(Mode::Groups),
            _ => None,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Before Linux 6.7 there is no such file, and one mode.
            let enabled = directory(dir)?.join("enabled").exists() || directory(dir)?.exists();
            Ok(enabled.then_some(Mode::Groups))
        }
        Err(error) => Err(error),
    }
}

/// Whether the kernel has simple quotas: what [`enable`] would switch on.
#[must_use]
pub fn has_simple() -> bool {
    fs::exists("/sys/fs/btrfs/features/simple_quota").unwrap_or(false)
}

/// Lets the filesystem of `dir` count, by simple quotas where the kernel has them unless it counts already.
///
/// # Errors
/// Any of the kernel's.
pub fn enable(dir: BorrowedFd<'_>) -> io::Result<Mode> {
    if let Some(mode) = mode(dir)? {
        return Ok(mode);
    }
    match control(dir, ENABLE_SIMPLE) {
        Ok(()) => return Ok(Mode::Simple),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {}
        Err(error) => return Err(error),
    }
    enable_groups(dir)?;
    Ok(Mode::Groups)
}

/// Lets the filesystem of `dir` count by groups, and waits until what is there has been counted.
///
/// # Errors
/// Any of the kernel's.
pub fn enable_groups(dir: BorrowedFd<'_>) -> io::Result<()> {
    control(dir, ENABLE)?;
    // SAFETY: the request takes no argument.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), QUOTA_RESCAN_WAIT as _, 0) })
}

/// Makes a group; one that is there is fine.
///
/// # Errors
/// Any of the kernel's.
pub fn create(dir: BorrowedFd<'_>, group: Group) -> io::Result<()> {
    unless(set_group(dir, group, true), Errno::EXIST)
}

/// Removes a group that has no members any more.
///
/// # Errors
/// `ResourceBusy` while it has members; any other of the kernel's.
pub fn remove(dir: BorrowedFd<'_>, group: Group) -> io::Result<()> {
    unless(set_group(dir, group, false), Errno::NOENT)
}

/// Counts `member` in `group` too; done twice it is done once.
///
/// # Errors
/// Any of the kernel's.
pub fn assign(dir: BorrowedFd<'_>, member: Group, group: Group) -> io::Result<()> {
    unless(set_member(dir, member, group, true), Errno::EXIST)
}

/// No longer counts `member` in `group`; one that was not counted is fine.
///
/// # Errors
/// Any of the kernel's.
pub fn unassign(dir: BorrowedFd<'_>, member: Group, group: Group) -> io::Result<()> {
    unless(set_member(dir, member, group, false), Errno::NOENT)
}

/// The groups that are counted in `group`, those of subvolumes that are gone among them.
///
/// # Errors
/// `NotFound` where nothing is counted; any other of the kernel's.
pub fn members(dir: BorrowedFd<'_>, group: Group) -> io::Result<Vec<Group>> {
    let mut members = Vec::new();
    each_of(dir, QUOTA_TREE, group, RELATION, |id| {
        // Of a higher level are those in which it is counted itself.
        if id >> 48 < group.0 >> 48 {
            members.push(Group(id));
        }
    })?;
    Ok(members)
}

/// Whether the subvolume of a group is there. One that was removed counts on until the kernel has cleaned it away.
///
/// # Errors
/// `PermissionDenied` without `CAP_SYS_ADMIN`; any other of the kernel's.
pub fn is_there(dir: BorrowedFd<'_>, group: Group) -> io::Result<bool> {
    let mut found = false;
    each_of(dir, ROOT_TREE, group, ROOT_BACKREF, |_| found = true)?;
    Ok(found)
}

/// Calls `each` with the offsets of the items of one kind that a tree has of a group, or of its subvolume.
fn each_of(
    dir: BorrowedFd<'_>,
    tree: u64,
    group: Group,
    kind: u32,
    mut each: impl FnMut(u64),
) -> io::Result<()> {
    let key = |offset| Key {
        object: group.0,
        kind,
        offset,
    };
    search(dir, tree, (key(0), key(u64::MAX)), &mut |key, _| {
        each(key.offset);
    })
}

/// Bounds what a group holds, or takes its bound away.
///
/// # Errors
/// `NotFound` when there is no such group; any other of the kernel's.
pub fn limit(dir: BorrowedFd<'_>, group: Group, bytes: Option<u64>) -> io::Result<()> {
    let mut arguments = Limit {
        group: group.0,
        flags: MAX_REFERENCED,
        max_referenced: bytes.unwrap_or(CLEARED),
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), QGROUP_LIMIT as _, &raw mut arguments) })
}

/// Bytes that a group holds, as of the last commit of the filesystem; `None` when there is no such group.
///
/// # Errors
/// Those of [`uuid`]; a sysfs that cannot be read.
pub fn used(dir: BorrowedFd<'_>, group: Group) -> io::Result<Option<u64>> {
    number(directory(dir)?.join(group.file_name()).join("referenced"))
}

/// The bound of a group.
///
/// # Errors
/// Those of [`used`].
pub fn bound(dir: BorrowedFd<'_>, group: Group) -> io::Result<Option<u64>> {
    let bound = number(
        directory(dir)?
            .join(group.file_name())
            .join("max_referenced"),
    )?;
    Ok(bound.filter(|bound| *bound != 0 && *bound != CLEARED))
}

/// Lets a mounted filesystem take so much of one of its devices.
///
/// # Errors
/// `StorageFull` when what is there does not fit; any other of the kernel's.
pub fn resize(dir: BorrowedFd<'_>, device: u64, bytes: u64) -> io::Result<()> {
    let text = format!("{device}:{bytes}");
    let mut name = [0; 4088];
    name[..text.len()].copy_from_slice(text.as_bytes());
    let arguments = Named { fd: 0, name };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), RESIZE as _, &raw const arguments) })
}

/// The UUID in the superblock of an unmounted device or image; `None` when there is no btrfs on it.
///
/// # Errors
/// Those of opening and reading it.
pub fn uuid_on(device: &std::path::Path) -> io::Result<Option<[u8; 16]>> {
    use std::os::unix::fs::FileExt as _;
    let mut block = [0_u8; 72];
    match fs::File::open(device)?.read_exact_at(&mut block, SUPERBLOCK) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&block[32..48]);
    Ok((&block[64..72] == b"_BHRfS_M").then_some(uuid))
}

/// Where the first superblock is.
const SUPERBLOCK: u64 = 64 << 10;

/// Makes a device that holds the filesystem `uuid` one that holds none; any other filesystem stays.
///
/// # Errors
/// Those of opening, reading and writing it.
pub fn unmake(device: &std::path::Path, uuid: [u8; 16]) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    if uuid_on(device)? != Some(uuid) {
        return Ok(());
    }
    let device = fs::OpenOptions::new().write(true).open(device)?;
    device.write_all_at(&[0; 8], SUPERBLOCK + 64)?;
    device.sync_all()
}

fn control(dir: BorrowedFd<'_>, command: u64) -> io::Result<()> {
    let mut arguments = Control { command, status: 0 };
    // SAFETY: `arguments` is the struct that the request reads and writes, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), QUOTA_CTL as _, &raw mut arguments) })
}

/// `/sys/fs/btrfs/<uuid>/qgroups`.
fn directory(dir: BorrowedFd<'_>) -> io::Result<PathBuf> {
    Ok(PathBuf::from(format!(
        "/sys/fs/btrfs/{}/qgroups",
        crate::uuid::text(uuid(dir)?)
    )))
}

fn number(path: PathBuf) -> io::Result<Option<u64>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is such a group.
fn set_group(dir: BorrowedFd<'_>, group: Group, there: bool) -> io::Result<()> {
    let arguments = Create {
        create: there.into(),
        group: group.0,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), QGROUP_CREATE as _, &raw const arguments) })
}

/// Whether `member` is counted in `group`.
fn set_member(dir: BorrowedFd<'_>, member: Group, group: Group, counted: bool) -> io::Result<()> {
    let arguments = Assign {
        assign: counted.into(),
        from: member.0,
        to: group.0,
    };
    // SAFETY: `arguments` is the struct that the request reads, and lives until the call returns.
    done(unsafe { libc::ioctl(dir.as_raw_fd(), QGROUP_ASSIGN as _, &raw const arguments) })
}

fn unless(result: io::Result<()>, fine: Errno) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(fine.raw_os_error()) => Ok(()),
        other => other,
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

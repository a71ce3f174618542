//! Moves a tree over another one, entry by entry.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid};

/// Moves every entry of `from` into `to`: directories are joined, everything else replaces what has its name. Owner, mode
/// and times of joined directories become those of `from`. Idempotent: what was moved is not in `from` any more.
///
/// Where the two are on different filesystems, entries are copied and then removed.
pub(crate) fn into(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for entry in sys::dir::read_dir(from)? {
        let name = entry.name.as_os_str();
        let there = match sys::dir::stat_at(to, name) {
            Ok(stat) => Some(stat.kind()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_directory = sys::dir::stat_at(from, name)?.kind() == FileType::Directory;
        match there {
            Some(FileType::Directory) if is_directory => {
                let (below_from, below_to) = (sys::dir::open_at(from, name)?, sys::dir::open_at(to, name)?);
                into(below_from.as_fd(), below_to.as_fd())?;
                rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR)?;
            }
            Some(FileType::Directory) => {
                sys::dir::remove_tree_at(to, name)?;
                transfer(from, to, name)?;
            }
            Some(_) if is_directory => {
                rustix::fs::unlinkat(to, name, AtFlags::empty())?;
                transfer(from, to, name)?;
            }
            _ => transfer(from, to, name)?,
        }
    }
    attributes(from, to)?;
    rustix::fs::fsync(to)?;
    Ok(())
}

fn transfer(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat(from, name, to, name) {
        Err(rustix::io::Errno::XDEV) => copy(from, to, name),
        result => Ok(result?),
    }
}

/// By way of a directory that holds only this entry, since trees are copied whole.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let single = format!(".orlop-import-{}", std::process::id());
    let single = OsStr::new(&single);
    rustix::fs::mkdirat(from, single, Mode::RWXU)?;
    let holder = sys::dir::open_at(from, single)?;
    rustix::fs::renameat(from, name, &holder, name)?;
    let options = sys::copy_tree::CopyOptions::default();
    sys::copy_tree::copy_tree(holder.as_fd(), to, &options).map_err(io::Error::other)?;
    drop(holder);
    sys::dir::remove_tree_at(from, single)
}

fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(to, &times)?)
}

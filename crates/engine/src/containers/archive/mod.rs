//! `cp`: files into and out of a container, running or not, volumes included.
//!
//! Paths are resolved beneath the container's root, so that no link in a container leads out of it. A running container
//! is reached through its own mount namespace; of one that does not run a helper process shows the files as its start
//! would mount them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, OFlags, readlinkat, statat};

use super::find::Columns as _;
use super::mounts::clean;
use super::{ContainerError, Containers};

pub(crate) mod view;

#[derive(Debug, Clone)]
pub struct ArchiveStat {
    pub name: String,
    pub size: i64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    pub link_target: String,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    pub no_overwrite_dir_non_dir: bool,
}

/// A path in a container or volume.
pub(crate) struct Place {
    pub(crate) shown: ArchiveStat,
    /// The path ends in a slash or dot: a link there is followed.
    pub(crate) through: bool,
}

impl Containers {
    pub fn archive_stat(&self, reference: &str, path: &str) -> Result<ArchiveStat, ContainerError> {
        let row = self.find(reference)?;
        let view = self.view(&row)?;
        place(view.root(), path)
            .map(|place| place.shown)
            .map_err(|error| missing(path, &row.id, error))
    }

    /// Calls `begin` with the stat, then writes a tar stream of `path` to what it returns.
    pub fn archive_get(
        &self,
        reference: &str,
        path: &str,
        begin: &mut dyn FnMut(ArchiveStat) -> Box<dyn Write + Send>,
    ) -> Result<(), ContainerError> {
        let row = self.find(reference)?;
        let view = self.view(&row)?;
        let place = place(view.root(), path).map_err(|error| missing(path, &row.id, error))?;
        let failed = |source| ContainerError::Io {
            action: format!("cannot copy {path} from container {}", row.id),
            source,
        };
        // `/x/.` names the contents of x, and the archive says so.
        let last = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let name = if last == "." {
            PathBuf::from(".")
        } else {
            PathBuf::from(&place.shown.name)
        };
        let options = archive::PackOptions {
            path: PathBuf::from(clean(&format!("/{path}"))),
            follow: place.through,
            name: Some(name),
            ..archive::PackOptions::default()
        };
        let mut out = begin(place.shown);
        archive::pack(view.root(), &mut out, &options)
            .map_err(|error| failed(io::Error::other(error)))?;
        self.publish(&row, "archive-path", &[]);
        Ok(())
    }

    /// Unpacks a tar stream (plain, gzip, zstd) into the directory `path`.
    pub fn archive_put(
        &self,
        reference: &str,
        path: &str,
        tar: &mut (dyn Read + Send),
        options: PutOptions,
    ) -> Result<(), ContainerError> {
        let row = self.find(reference)?;
        self.refuse_read_only(&row, path)?;
        let view = self.view(&row)?;
        let directory = sys::dir::open_in_root(
            view.root(),
            relative(path),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        )
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => {
                ContainerError::Invalid("extraction point is not a directory".to_owned())
            }
            _ => missing(path, &row.id, error),
        })?;
        let plain =
            archive::decompress(tar).map_err(|error| ContainerError::Invalid(error.to_string()))?;
        let unpack = archive::UnpackOptions {
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            ..archive::UnpackOptions::default()
        };
        archive::unpack(plain, directory.as_fd(), &unpack)
            .map_err(|error| ContainerError::Invalid(error.to_string()))?;
        self.publish(&row, "extract-to-dir", &[]);
        Ok(())
    }

    /// Docker's two refusals, before anything is unpacked.
    fn refuse_read_only(
        &self,
        row: &store::ContainerRow,
        path: &str,
    ) -> Result<(), ContainerError> {
        let path = clean(&format!("/{path}"));
        let mounts = self.stored_mounts(row)?;
        let holder = mounts
            .iter()
            .filter(|mount| Path::new(&path).starts_with(&mount.point.destination))
            .max_by_key(|mount| mount.point.destination.len());
        match holder {
            Some(mount) if !mount.point.rw => Err(ContainerError::Invalid(
                "mounted volume is marked read-only".to_owned(),
            )),
            None if row.host_config()?.readonly_rootfs => Err(ContainerError::Invalid(
                "container rootfs is marked read-only".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn missing(path: &str, id: &str, error: io::Error) -> ContainerError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ContainerError::NotFound(format!("Could not find the file {path} in container {id}"))
        }
        _ => ContainerError::Io {
            action: format!("cannot open {path} in container {id}"),
            source: error,
        },
    }
}

fn relative(path: &str) -> &Path {
    Path::new(if path.is_empty() { "/" } else { path })
}

/// Finds `path` below `root`, not following a link in the last component, unless a slash or dot follows it.
pub(crate) fn place(root: BorrowedFd<'_>, path: &str) -> io::Result<Place> {
    let cleaned = clean(&format!("/{path}"));
    let through = path.ends_with('/') || path.ends_with("/.");
    let (parent, name) = if cleaned == "/" || through {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        (
            sys::dir::open_in_root(root, relative(path), flags)?,
            OsString::from("."),
        )
    } else {
        sys::dir::resolve_in_root(root, Path::new(&cleaned))?
    };
    let stat = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
    let link_target = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = readlinkat(&parent, &name, Vec::new())?;
        let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
        if target.starts_with('/') {
            clean(&target)
        } else {
            clean(&format!("{cleaned}/../{target}"))
        }
    } else {
        String::new()
    };
    let shown_name = Path::new(&cleaned)
        .file_name()
        .unwrap_or(OsStr::new("/"))
        .to_string_lossy()
        .into_owned();
    let mtime = Timestamp::new(
        stat.st_mtime,
        i32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    )
    .unwrap_or(Timestamp::UNIX_EPOCH);
    let shown = ArchiveStat {
        name: shown_name,
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime: mtime.to_string(),
        link_target,
    };
    Ok(Place { shown, through })
}

/// From st_mode to the bits of Go's `os.FileMode`, which the API shows.
fn go_mode(mode: u32) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const PIPE: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const CHARACTER: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => SYMLINK,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHARACTER,
        FileType::Fifo => PIPE,
        FileType::Socket => SOCKET,
        _ => 0,
    };
    let bit = |from: u32, to: u32| if mode & from == 0 { 0 } else { to };
    kind | bit(0o4000, SETUID) | bit(0o2000, SETGID) | bit(0o1000, STICKY) | (mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::go_mode;

    #[test]
    fn modes_are_gos() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o040_755, (1 << 31) | 0o755),
            (0o120_777, (1 << 27) | 0o777),
            (0o104_755, (1 << 23) | 0o755),
            (0o041_777, (1 << 31) | (1 << 20) | 0o777),
        ] {
            assert_eq!(go_mode(unix), go, "{unix:o}");
        }
    }
}

//! A volume's files without a container: listing, reading, and the whole tree for whoever copies.
//!
//! Paths are resolved beneath the volume's root by the kernel: no link leads out of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use store::{SnapshotState, VolumeRow};

use crate::fill::{Source, Wish};
use crate::merge::Existing;
use crate::{VolumeError, Volumes, held, open_directory};

/// Holder of the volume's mount for as long as a call lasts.
const FILES: &str = ":files";

/// One entry of a directory in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub name: String,
    pub kind: FileType,
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes; of a link, of its text.
    pub size: u64,
    /// Unix seconds.
    pub modified: i64,
    /// Where a symbolic link points.
    pub target: Option<String>,
}

impl FileEntry {
    /// The kind as people say it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            FileType::Directory => "directory",
            FileType::RegularFile => "file",
            FileType::Symlink => "link",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::CharacterDevice => "character device",
            FileType::BlockDevice => "block device",
            FileType::Unknown => "unknown",
        }
    }
}

impl Volumes {
    /// The entries of a directory in a volume by name, or the one entry that a path to anything else names.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`] for a path that is not there or leads out.
    pub fn list_files(&self, name: &str, path: &str) -> Result<Vec<FileEntry>, VolumeError> {
        self.with_readable(name, FILES, |_, content| {
            let failed = |source| subpath(name, path, source);
            let inside = relative(path);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match sys::dir::open_beneath(content, &inside, flags) {
                Ok(directory) => {
                    let mut entries = Vec::new();
                    for entry in sys::dir::read_dir(directory.as_fd()).map_err(failed)? {
                        match describe(directory.as_fd(), &entry.name) {
                            Ok(entry) => entries.push(entry),
                            // Removed meanwhile, or another kind of file.
                            Err(error) if sys::is_gone(&error) => {}
                            Err(error) => return Err(failed(error)),
                        }
                    }
                    entries.sort_by(|a, b| a.name.cmp(&b.name));
                    Ok(entries)
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    let (parent, last) =
                        sys::dir::resolve_in_root(content, &inside).map_err(failed)?;
                    Ok(vec![describe(parent.as_fd(), &last).map_err(failed)?])
                }
                Err(error) => Err(failed(error)),
            }
        })
    }

    /// Calls `read` with a regular file of a volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`] for anything but a file; what `read` returns.
    pub fn with_file<T>(
        &self,
        name: &str,
        path: &str,
        read: impl FnOnce(File) -> io::Result<T>,
    ) -> Result<T, VolumeError> {
        self.with_readable(name, FILES, |_, content| {
            let failed = |source| subpath(name, path, source);
            // A fifo without a writer must not keep anybody waiting.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = sys::dir::open_beneath(content, &relative(path), flags).map_err(failed)?;
            match sys::dir::stat(file.as_fd()).map_err(failed)?.kind() {
                FileType::RegularFile => {}
                FileType::Directory => return Err(failed(io::ErrorKind::IsADirectory.into())),
                _ => return Err(failed(no_file())),
            }
            read(File::from(file)).map_err(failed)
        })
    }

    /// Unpacks a tar archive into the directory `path` of a volume, all of it or nothing.
    ///
    /// # Errors
    /// As [`Volumes::import`]; [`VolumeError::Subpath`] for a path that is no directory.
    pub fn import_into(
        &self,
        name: &str,
        path: &str,
        tar: &mut (dyn io::Read + Send),
    ) -> Result<(), VolumeError> {
        let plain = archive::decompress(tar).map_err(|source| VolumeError::Compression {
            name: name.to_owned(),
            source,
        })?;
        if name.contains('@') {
            return Err(VolumeError::OfSnapshot(name.to_owned()));
        }
        let inside = relative(path);
        let inside = inside.to_str().filter(|inside| *inside != ".");
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row_or_found(name)?;
        self.attach(&row, FILES)?;
        let imported = match self.open_subpath(&row, inside) {
            Ok(Some(_)) => self.fill(
                &row,
                inside,
                Source::Archive(plain),
                Wish::new(Existing::Replace),
            ),
            Ok(None) => Err(subpath(name, path, io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(error),
        };
        let detached = self.detach(&row, FILES);
        imported.and(detached)
    }

    /// Calls `act` with the root of a volume's files, mounted if it must be, outside of the name's lock.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], those of mounting; what `act` returns.
    pub fn with_root<T>(
        &self,
        name: &str,
        act: impl FnOnce(BorrowedFd<'_>) -> T,
    ) -> Result<T, VolumeError> {
        self.with_readable(name, FILES, |_, content| Ok(act(content)))
    }

    /// What `name` stands for, to be read: the present of a volume, or `VOLUME@SNAPSHOT`.
    pub(crate) fn with_readable<T>(
        &self,
        name: &str,
        holder: &str,
        act: impl FnOnce(&VolumeRow, BorrowedFd<'_>) -> Result<T, VolumeError>,
    ) -> Result<T, VolumeError> {
        let Some((volume, snapshot)) = name.split_once('@') else {
            return self.with_content(name, holder, act);
        };
        let row = self.row(volume)?;
        let found = self
            .store
            .read(|tx| tx.snapshot_by_name(&row.id, snapshot))?
            .filter(|found| found.state == SnapshotState::Ready)
            .ok_or_else(|| VolumeError::NoSnapshot(name.to_owned()))?;
        let tree = self.paths.snapshot(&row.id, &found.id);
        self.expose(&row, &tree)?;
        let root = open_directory(&tree).map_err(VolumeError::io("open", &tree))?;
        act(&row, root.as_fd())
    }

    pub(crate) fn with_content<T>(
        &self,
        name: &str,
        holder: &str,
        act: impl FnOnce(&VolumeRow, BorrowedFd<'_>) -> Result<T, VolumeError>,
    ) -> Result<T, VolumeError> {
        let lock = self.name_lock(name);
        let row = {
            let _held = held(&lock);
            let row = self.row_or_found(name)?;
            self.attach(&row, holder)?;
            row
        };
        // Not under the lock: what takes long must not keep containers from starting.
        let done = self
            .open_content(&row)
            .and_then(|content| act(&row, content.as_fd()));
        let _held = held(&lock);
        let detached = self.detach(&row, holder);
        let value = done?;
        detached?;
        Ok(value)
    }
}

/// A path as users write it, below the volume's root: `..` at the root stays there.
fn relative(path: &str) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => {
                inside.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if inside.as_os_str().is_empty() {
        inside.push(".");
    }
    inside
}

fn subpath(name: &str, path: &str, source: io::Error) -> VolumeError {
    let source = match Errno::from_io_error(&source) {
        Some(Errno::XDEV) => {
            io::Error::new(io::ErrorKind::InvalidInput, "it leads out of the volume")
        }
        // What the kernel says of opening a socket.
        Some(Errno::NXIO) => no_file(),
        _ => source,
    };
    VolumeError::Subpath {
        name: name.to_owned(),
        subpath: path.to_owned(),
        source,
    }
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn describe(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> io::Result<FileEntry> {
    let stat = sys::dir::stat_at(directory, name)?;
    let target = if stat.kind() == FileType::Symlink {
        match sys::dir::read_link_at(directory, name) {
            Ok(text) => Some(text.to_string_lossy().into_owned()),
            // It is no link any more.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Errno::STALE.into());
            }
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    Ok(FileEntry {
        name: name.to_string_lossy().into_owned(),
        kind: stat.kind(),
        mode: stat.permissions(),
        uid: stat.uid,
        gid: stat.gid,
        size: stat.size,
        modified: stat.mtime.seconds,
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn paths_stay_inside() {
        for (given, inside) in [
            ("", "."),
            ("/", "."),
            ("/a/b/", "a/b"),
            ("a/./../b", "b"),
            ("../../etc", "etc"),
        ] {
            assert_eq!(relative(given), Path::new(inside), "{given}");
        }
    }
}

//! Every creation, rename and removal under a state directory goes through here, and is on disk when the call returns.
//!
//! What each call guarantees after a power cut, once it has returned: the entry it made is there, complete; the entry
//! it removed is gone. Before it returns, either the old or the new state is found, for [`write_atomic`] never a mix.
//! What is called `unsynced` or `soon` waits for less, as it says.
//! Each call counts itself with [`crate::fault`], which is how the tests make the n-th of them fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::fault::durable_call;
use crate::{btrfs, writeback};

/// Beyond so many entries one `syncfs` is cheaper than a `fsync` for each.
const SYNC_EACH: usize = 128;

/// Writes `bytes` to `path` so that readers and crashes see the old or the new content, never a part.
///
/// # Errors
/// Any I/O error; `path` is then unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (parent, name) = split(path)?;
    write_atomic_at(open_dir(parent)?.as_fd(), name, bytes, mode)
}

/// [`write_atomic`] for the entry `name` of the directory `dir`.
///
/// # Errors
/// Any I/O error; the entry is then unchanged.
pub fn write_atomic_at(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    bytes: &[u8],
    mode: u32,
) -> io::Result<()> {
    let temporary = temporary_name(name);
    let written = write_new(dir, &temporary, bytes, mode, File::sync_all).and_then(|()| {
        durable_call()?;
        rustix::fs::renameat(dir, &temporary, dir, name)?;
        sync_fd(dir)
    });
    if written.is_err() {
        // The write has failed and says so; a temporary file that also cannot be removed changes nothing in that.
        let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    }
    written
}

/// [`write_atomic`] that does not wait for the change to be durable: after a power cut it is the old or the new content, one of
/// them complete.
///
/// # Errors
/// Any I/O error; `path` is then unchanged.
pub fn write_atomic_soon(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let dir = open_dir(parent)?;
    let temporary = temporary_name(name);
    let written = write_new(dir.as_fd(), &temporary, bytes, mode, write_back).and_then(|()| {
        durable_call()?;
        Ok(rustix::fs::renameat(&dir, &temporary, &dir, name)?)
    });
    if written.is_err() {
        // As in write_atomic_at: the error already tells the caller what matters.
        let _ = rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty());
    }
    written
}

/// Has the kernel write what is in the file, which is new, before anything that happens to it later; the file is not durable by that.
fn write_back(file: &File) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes no pointers, and the descriptor is open as long as `file` is borrowed.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } == 0 {
        return Ok(());
    }
    // A filesystem that cannot do that can do more.
    file.sync_data()
}

fn write_new(
    dir: BorrowedFd<'_>,
    name: &Path,
    bytes: &[u8],
    mode: u32,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    durable_call()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::openat(
        dir,
        name,
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(bytes)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    durable_call()?;
    sync(&file)
}

/// Makes one directory with exactly `mode`, whatever the umask.
///
/// # Errors
/// `AlreadyExists` when the path is taken by anything; other I/O errors.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    create_dir_unsynced(path, mode)?;
    sync_parent(path)
}

/// Makes a file with this content and waits for nothing: for what can be made again when it is found missing or empty.
///
/// # Errors
/// `AlreadyExists`; other I/O errors, which may leave a part of it.
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    durable_call()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(mode))?;
    File::from(file).write_all(bytes)
}

/// [`create_dir`] whose entry is durable only after the caller syncs the parent, for several in one directory.
///
/// # Errors
/// As [`create_dir`].
pub fn create_dir_unsynced(path: &Path, mode: u32) -> io::Result<()> {
    durable_call()?;
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode))?;
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// Makes the directory unless one is there; an existing one keeps its mode.
///
/// # Errors
/// `NotADirectory` when something else has the name; other I/O errors.
pub fn ensure_dir(path: &Path, mode: u32) -> io::Result<()> {
    match create_dir(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.is_dir() {
                Ok(())
            } else {
                Err(Errno::NOTDIR.into())
            }
        }
        other => other,
    }
}

/// [`ensure_dir`] for the path and every missing directory above it.
///
/// # Errors
/// As [`ensure_dir`].
pub fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_dir_all(parent, mode)?;
    }
    ensure_dir(path, mode)
}

/// Renames, replacing what is there, and syncs both directories.
///
/// # Errors
/// Any I/O error. After an error of the last sync the rename may or may not survive a crash.
pub fn rename_sync(from: &Path, to: &Path) -> io::Result<()> {
    durable_call()?;
    rustix::fs::rename(from, to)?;
    sync_renamed(from, to)
}

/// Renames only if nothing has the new name, and syncs both directories.
///
/// # Errors
/// `AlreadyExists` when something has it; else as [`rename_sync`].
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    durable_call()?;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network and union filesystems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => match rustix::fs::lstat(to) {
            Err(Errno::NOENT) => rustix::fs::rename(from, to)?,
            Ok(_) => return Err(Errno::EXIST.into()),
            Err(error) => return Err(error.into()),
        },
        other => other?,
    }
    sync_renamed(from, to)
}

fn sync_renamed(from: &Path, to: &Path) -> io::Result<()> {
    if is_subvolume(to)? {
        return commit(to);
    }
    sync_parent(to)?;
    if from.parent() == to.parent() {
        Ok(())
    } else {
        sync_parent(from)
    }
}

/// Whether it is the root of a btrfs subvolume. After a rename of one, its directories must not be synced by themselves: a
/// power cut would leave a log that Linux (seen on 6.18) fails to replay, and then the filesystem cannot be mounted. A
/// commit of the whole filesystem leaves no log.
fn is_subvolume(path: &Path) -> io::Result<bool> {
    let stat = rustix::fs::lstat(path)?;
    if stat.st_ino != btrfs::ROOT_INODE
        || FileType::from_raw_mode(stat.st_mode) != FileType::Directory
    {
        return Ok(false);
    }
    btrfs::is_btrfs(open_dir(path)?.as_fd())
}

fn commit(path: &Path) -> io::Result<()> {
    sync_filesystem(open_dir(path)?.as_fd())
}

/// Makes everything durable that is on the filesystem of `fd`.
///
/// # Errors
/// Any I/O error.
pub fn sync_filesystem(fd: BorrowedFd<'_>) -> io::Result<()> {
    durable_call()?;
    Ok(rustix::fs::syncfs(fd)?)
}

/// Makes `link` a symbolic link to `target`, atomically replacing a file or link of that name. Nothing is synced: for links that
/// can be made again from what is.
///
/// # Errors
/// Any I/O error; a directory of that name is one.
pub fn symlink_unsynced(target: &Path, link: &Path) -> io::Result<()> {
    durable_call()?;
    match rustix::fs::symlink(target, link) {
        Err(Errno::EXIST) => {}
        result => return Ok(result?),
    }
    let (parent, name) = split(link)?;
    let temporary = parent.join(temporary_name(name));
    rustix::fs::symlink(target, &temporary)?;
    rustix::fs::rename(&temporary, link).map_err(|error| {
        // As in write_atomic_at: the error already tells the caller what matters.
        let _ = rustix::fs::unlink(&temporary);
        error.into()
    })
}

/// Removes a file or symbolic link; one that is not there is fine. Returns whether there was one.
///
/// # Errors
/// Any other I/O error.
pub fn remove_file(path: &Path) -> io::Result<bool> {
    durable_call()?;
    match rustix::fs::unlink(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes an empty directory; one that is not there is fine. Returns whether there was one.
///
/// # Errors
/// Any other I/O error, `DirectoryNotEmpty` among them.
pub fn remove_dir(path: &Path) -> io::Result<bool> {
    durable_call()?;
    match rustix::fs::rmdir(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// Any I/O error.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    sync_fd(open_dir(path)?.as_fd())
}

/// Makes what a file holds durable; one that is not there is fine.
///
/// # Errors
/// Any other I/O error.
pub fn sync_file(path: &Path) -> io::Result<()> {
    durable_call()?;
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        file => Ok(rustix::fs::fdatasync(file?)?),
    }
}

/// Makes the directory that holds `path` durable.
///
/// # Errors
/// Any I/O error.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(split(path)?.0)
}

/// `fsync` of an open file or directory.
///
/// # Errors
/// Any I/O error; the data must then be taken for lost.
pub fn sync_fd(fd: BorrowedFd<'_>) -> io::Result<()> {
    durable_call()?;
    Ok(rustix::fs::fsync(fd)?)
}

/// Makes a whole tree durable: data, names and attributes of everything in it, and the root itself.
///
/// A small tree is synced file by file, a large one by a `syncfs` of its filesystem. The entry of the root in its
/// parent is not included.
///
/// # Errors
/// Any I/O error.
pub fn sync_tree(root: &Path) -> io::Result<()> {
    sync_tree_at(open_dir(root)?.as_fd())
}

/// [`sync_tree`] of an open directory.
///
/// # Errors
/// Any I/O error.
pub fn sync_tree_at(root: BorrowedFd<'_>) -> io::Result<()> {
    durable_call()?;
    let mut files = Vec::new();
    if !list_below(root, &mut files)? {
        return Ok(rustix::fs::syncfs(root)?);
    }
    // All at once, so that the disk need not wait for each.
    for file in &files {
        writeback::begin(file.as_fd());
    }
    for file in files {
        rustix::fs::fsync(&file)?;
    }
    Ok(rustix::fs::fsync(root)?)
}

/// Opens the files and directories below `dir`, contents before what holds them; false when there are more than are
/// worth it.
fn list_below(dir: BorrowedFd<'_>, files: &mut Vec<OwnedFd>) -> io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if files.len() == SYNC_EACH {
            return Ok(false);
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        // Links and device nodes are durable with the directory that holds them.
        let flags = match kind {
            FileType::Directory => OFlags::DIRECTORY,
            FileType::RegularFile => OFlags::NONBLOCK,
            _ => continue,
        };
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        if kind == FileType::Directory && !list_below(file.as_fd(), files)? {
            return Ok(false);
        }
        files.push(file);
    }
    Ok(true)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((parent, name))
}

/// Whether `entry` is what a [`write_atomic`] of `name` in the same directory left that was cut short.
pub fn is_leftover(entry: &OsStr, name: &OsStr) -> bool {
    let name = &name.as_bytes()[..name.len().min(200)];
    let serial = entry
        .as_bytes()
        .strip_prefix(b".")
        .and_then(|rest| rest.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"));
    serial.is_some_and(|serial| {
        !serial.is_empty()
            && serial
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'-')
    })
}

/// A name beside `name` that no other caller of this process, nor a living process, uses.
fn temporary_name(name: &OsStr) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut temporary = b".".to_vec();
    // Names may be 255 bytes long; the suffix must still fit.
    temporary.extend_from_slice(&name.as_bytes()[..name.len().min(200)]);
    let pid = rustix::process::getpid().as_raw_nonzero();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    temporary.extend_from_slice(format!(".{pid}-{count}.tmp").as_bytes());
    PathBuf::from(OsStr::from_bytes(&temporary))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;
    use crate::fault;

    #[test]
    fn leftovers_are_known_by_their_names() {
        let name = OsStr::new("volume.json");
        let made = temporary_name(name);
        assert!(is_leftover(made.as_os_str(), name));
        for other in [
            "volume.json",
            ".volume.json.tmp",
            ".volume.json.mine.tmp",
            ".x.1-2.tmp",
        ] {
            assert!(!is_leftover(OsStr::new(other), name), "{other}");
        }
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("orlop-durable-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("scratch directory");
            Self(path)
        }

        fn entries(&self) -> Vec<String> {
            let mut names: Vec<String> = std::fs::read_dir(&self.0)
                .expect("readable")
                .map(|entry| {
                    entry
                        .expect("entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_else() {
        let scratch = Scratch::new("write");
        let file = scratch.0.join("file");
        write_atomic(&file, b"old", 0o640).expect("writes");
        assert_eq!(
            std::fs::metadata(&file).expect("there").mode() & 0o7777,
            0o640
        );
        for n in 1.. {
            let armed = fault::fail_nth(n, 5);
            let outcome = write_atomic(&file, b"new", 0o600);
            if !armed.fired() {
                outcome.expect("without a fault it succeeds");
                break;
            }
            assert!(outcome.is_err(), "the fault at call {n} is reported");
            drop(armed);
            let content = std::fs::read(&file).expect("there");
            assert!(
                content == b"old" || content == b"new",
                "whole content after call {n}"
            );
            assert_eq!(scratch.entries(), ["file"], "after call {n}");
        }
        assert_eq!(std::fs::read(&file).expect("there"), b"new");
    }

    #[test]
    fn directories_have_exact_modes() {
        let scratch = Scratch::new("dirs");
        create_dir_all(&scratch.0.join("a/b"), 0o711).expect("both");
        let mode = std::fs::metadata(scratch.0.join("a/b"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o711);
        assert_eq!(
            create_dir(&scratch.0.join("a"), 0o700)
                .expect_err("taken")
                .kind(),
            io::ErrorKind::AlreadyExists
        );
        ensure_dir(&scratch.0.join("a"), 0o700).expect("there already");
        std::fs::write(scratch.0.join("f"), b"").expect("file");
        assert!(ensure_dir(&scratch.0.join("f"), 0o700).is_err());
    }

    #[test]
    fn renames_links_and_removals() {
        let scratch = Scratch::new("rename");
        let [a, b, link] = ["a", "b", "link"].map(|name| scratch.0.join(name));
        create_dir(&a, 0o700).expect("a");
        rename_new(&a, &b).expect("free");
        create_dir(&a, 0o700).expect("a again");
        assert_eq!(
            rename_new(&a, &b).expect_err("taken").kind(),
            io::ErrorKind::AlreadyExists
        );
        symlink_unsynced(Path::new("a"), &link).expect("new");
        symlink_unsynced(Path::new("b"), &link).expect("replaced");
        assert_eq!(std::fs::read_link(&link).expect("a link"), Path::new("b"));
        assert!(remove_file(&link).expect("there"));
        assert!(!remove_file(&link).expect("gone is fine"));
        assert!(remove_dir(&a).expect("there"));
        assert_eq!(scratch.entries(), ["b"]);
    }

    #[test]
    fn trees_of_any_size_sync() {
        let scratch = Scratch::new("tree");
        for index in 0..SYNC_EACH * 2 {
            std::fs::write(scratch.0.join(index.to_string()), b"x").expect("file");
            if index == 10 {
                sync_tree(&scratch.0).expect("file by file");
            }
        }
        sync_tree(&scratch.0).expect("whole filesystem");
    }
}

//! Layers seen as one tree, without a mount point that anybody else could see.
//!
//! Steps: 1. a thread leaves the mount namespace of the process; 2. it mounts the overlay there, with short relative
//! names of the layers, and takes hold of the mount; 3. the thread ends and its namespace with it. What remains is a
//! mount without a place, which the kernel dissolves when the view is dropped, also by the death of the process.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::thread::UnshareFlags;

use crate::dir;

/// A merged tree.
#[derive(Debug)]
pub struct View {
    root: OwnedFd,
    /// Holds the mount; closing it dissolves it, even while `root` is open.
    _mount: Option<OwnedFd>,
}

impl View {
    /// Merges `lowers`, topmost first, each absolute or relative to `layers_dir`, which is absolute. With `upper` (upper
    /// and work directory) the view can be written to and the changes go there; without, it is read-only. The upper
    /// directory of a stopped container can be given as the first of the `lowers` to look at the container's files.
    ///
    /// # Errors
    /// `InvalidInput` for a relative `layers_dir`, for no lowers at all, and for so many or so long ones that a mount does
    /// not take them.
    pub fn new(
        layers_dir: &Path,
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
    ) -> io::Result<Self> {
        if let ([only], None) = (lowers, upper) {
            return Ok(Self {
                root: dir::open(&layers_dir.join(only))?,
                _mount: None,
            });
        }
        if !layers_dir.is_absolute() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let options = options(lowers, upper)?;
        let mount = thread::scope(|scope| {
            thread::Builder::new()
                .name("overlay".to_owned())
                .spawn_scoped(scope, || mount(layers_dir, &options, upper.is_none()))?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(Self {
            root: dir::open_at(mount.as_fd(), OsStr::new("."))?,
            _mount: Some(mount),
        })
    }
}

impl AsFd for View {
    /// The root of the merged tree.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Runs `f` with the root of a [`View`], which is gone afterwards.
///
/// # Errors
/// As [`View::new`].
pub fn with_view<R>(
    layers_dir: &Path,
    lowers: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    f: impl FnOnce(BorrowedFd<'_>) -> R,
) -> io::Result<R> {
    let view = View::new(layers_dir, lowers, upper)?;
    Ok(f(view.as_fd()))
}

fn options(lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> io::Result<CString> {
    let mut options = b"index=off,lowerdir=".to_vec();
    for (position, lower) in lowers.iter().enumerate() {
        if position > 0 {
            options.push(b':');
        }
        escape(lower, &mut options);
    }
    if let Some((upper, work)) = upper {
        options.extend_from_slice(b",upperdir=");
        escape(upper, &mut options);
        options.extend_from_slice(b",workdir=");
        escape(work, &mut options);
    }
    // mount(2) reads one page.
    if lowers.is_empty() || options.len() >= 4096 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(CString::new(options)?)
}

fn escape(path: &Path, options: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            options.push(b'\\');
        }
        options.push(*byte);
    }
}

/// Runs in its own thread, whose namespace and working directory nobody else has.
fn mount(layers_dir: &Path, options: &CString, read_only: bool) -> io::Result<OwnedFd> {
    // SAFETY: the table of descriptors stays shared; what this thread leaves behind is its mounts and directories.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    // Unmounts by others still arrive, so that this copy of their mounts never keeps a device busy.
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    rustix::process::chdir(layers_dir)?;
    let mut flags = MountFlags::NODEV | MountFlags::NOSUID;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    rustix::mount::mount("overlay", ".", "overlay", flags, options.as_c_str())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // By its path: the working directory is what the mount has covered.
    Ok(rustix::mount::open_tree(
        rustix::fs::CWD,
        layers_dir,
        flags,
    )?)
}

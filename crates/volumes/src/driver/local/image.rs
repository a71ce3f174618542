//! Trees with a filesystem of their own: an ext4 in a file beside the tree, `<tree>.image`, mounted on it through a loop
//! device.
//!
//! The filesystem ends where its file ends, whatever the host's can do: that is the limit. The file has holes where nothing
//! was written, and gets them back when files are deleted. Where files can share data, the file is shared as a whole: a
//! copy of the tree at one instant, whatever is in it.
//!
//! A file is attached to one loop device only, found again after a crash by asking the kernel: two devices on one file
//! would be two filesystems that know nothing of each other. The kernel detaches it when nobody has it mounted.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};
use sys::copy_tree::{CopyOptions, copy_tree};
use sys::loop_device::{self, LoopDevice};
use sys::{durable, image_file};

use super::super::{Access, DriverError, Held, Limits, Replica, Watch};
use crate::{mount_table, open_directory};

/// Of the filesystem, and of the device's sectors.
const BLOCK: u32 = 4096;
/// Less has no journal.
const LEAST: u64 = 8 << 20;
/// Inodes that ext4 keeps for itself, the root among them.
const RESERVED: u64 = 10;

/// Where the filesystem of a tree is.
pub(super) fn path(tree: &Path) -> PathBuf {
    tree.with_extension("image")
}

/// The same while nobody has seen it.
fn making(tree: &Path) -> PathBuf {
    tree.with_extension("making")
}

/// Whether the tree has one.
pub(super) fn exists(tree: &Path) -> Result<bool, DriverError> {
    let path = path(tree);
    Ok(image_file::length(&path)
        .map_err(DriverError::io("look at", &path))?
        .is_some())
}

/// Makes an empty tree with a filesystem of its own, mounted.
pub(super) fn make(tree: &Path, limits: Limits) -> Result<(), DriverError> {
    if exists(tree)? {
        return expose(tree);
    }
    let bytes = rounded(limits.bytes.ok_or(DriverError::ImageWithoutSize)?)?;
    let (image, making) = (path(tree), making(tree));
    hide(tree)?;
    durable::remove_file(&making).map_err(DriverError::io("remove", &making))?;
    match durable::create_dir_unsynced(tree, 0o755) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(DriverError::io("make", tree))?,
    }
    image_file::create(&making, bytes).map_err(DriverError::io("make", &making))?;
    let block = BLOCK.to_string();
    let mut arguments = vec!["-q", "-F", "-b", &block, "-m", "0"];
    arguments.extend([
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
    ]);
    let inodes = limits.inodes.map(|inodes| (inodes + RESERVED).to_string());
    if let Some(inodes) = &inodes {
        arguments.extend(["-N", inodes]);
    }
    let shown = making.to_string_lossy();
    arguments.push(&shown);
    run("mkfs.ext4", &arguments)?;
    attach_and_mount(&making, tree)?;
    // Users see an empty directory.
    remove_lost_and_found(tree).map_err(DriverError::io("empty", tree))?;
    image_file::sync(&making)
        .and_then(|()| durable::rename_sync(&making, &image))
        .map_err(DriverError::io("make", &image))
}

fn remove_lost_and_found(tree: &Path) -> io::Result<()> {
    let root = open_directory(tree)?;
    match rustix::fs::unlinkat(&root, c"lost+found", rustix::fs::AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::syncfs(&root)?)
}

/// Takes an empty tree away; one that holds something is refused.
pub(super) fn unmake(tree: &Path) -> Result<(), DriverError> {
    if exists(tree)? {
        expose(tree)?;
        let empty = open_directory(tree)
            .and_then(|root| sys::dir::read_dir(root.as_fd()))
            .map_err(DriverError::io("list", tree))?
            .is_empty();
        if !empty {
            let full = rustix::io::Errno::NOTEMPTY.into();
            return Err(DriverError::io("remove", tree)(full));
        }
    }
    remove_files(tree)
}

fn remove_files(tree: &Path) -> Result<(), DriverError> {
    hide(tree)?;
    for file in [path(tree), making(tree)] {
        durable::remove_file(&file).map_err(DriverError::io("remove", &file))?;
    }
    Ok(())
}

/// Takes the tree's filesystem away with everything in it, if it has one.
pub(super) fn discard(tree: &Path) -> Result<(), DriverError> {
    if exists(tree)? || making(tree).exists() {
        return remove_files(tree);
    }
    Ok(())
}

/// Mounts it, if that is not done; sealed ones for reading.
pub(super) fn expose(tree: &Path) -> Result<(), DriverError> {
    if !exists(tree)? || is_mounted(tree)? {
        return Ok(());
    }
    if !tree.is_dir() {
        durable::create_dir_unsynced(tree, 0o755).map_err(DriverError::io("make", tree))?;
    }
    attach_and_mount(&path(tree), tree)
}

fn attach_and_mount(image: &Path, tree: &Path) -> Result<(), DriverError> {
    let failed = |source: io::Error| DriverError::Mount {
        call: format!("mount {}:{}", image.display(), tree.display()),
        source,
    };
    let sealed = image_file::is_sealed(image).map_err(failed)?;
    let device = device_of(image).map_err(failed)?;
    // A filesystem is for reading or for writing wherever it is mounted; this place of it can be for reading.
    let options = c"discard,errors=remount-ro";
    rustix::mount::mount(device.path(), tree, "ext4", MountFlags::empty(), options)
        .map_err(|error| failed(error.into()))?;
    if sealed {
        let root = open_directory(tree).map_err(failed)?;
        sys::mount::set_attributes(root.as_fd(), false, sys::mount::READ_ONLY, None)
            .map_err(failed)?;
    }
    Ok(())
}

/// The loop device of the file: the one to which it is attached, wherever that is mounted, or a new one.
fn device_of(image: &Path) -> io::Result<LoopDevice> {
    match loop_device::attached(image)?.first() {
        Some(device) => LoopDevice::open(device),
        None => loop_device::attach(image, BLOCK, false),
    }
}

/// Unmounts it here; who has it mounted elsewhere keeps it.
pub(super) fn hide(tree: &Path) -> Result<(), DriverError> {
    while is_mounted(tree)? {
        rustix::mount::unmount(tree, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(|error| DriverError::io("unmount", tree)(error.into()))?;
    }
    Ok(())
}

fn is_mounted(tree: &Path) -> Result<bool, DriverError> {
    mount_table::is_mountpoint(tree).map_err(DriverError::io("stat", tree))
}

/// Copies the tree `from`, which has a filesystem of its own, to `to`, where nothing is.
pub(super) fn replicate(from: &Path, to: &Path, watch: &Watch<'_>) -> Result<Replica, DriverError> {
    let (image, copy) = (path(from), path(to));
    durable::create_dir_unsynced(to, 0o700).map_err(DriverError::io("make", to))?;
    if is_mounted(from)?
        && !image_file::is_sealed(&image).map_err(DriverError::io("look at", &image))?
    {
        open_directory(from)
            .and_then(|root| Ok(rustix::fs::syncfs(&root)?))
            .map_err(DriverError::io("sync", from))?;
    }
    if image_file::share(&image, &copy).map_err(DriverError::io("make", &copy))? {
        return Ok(Replica::Whole);
    }
    // A copy of the file, which others write to, would be torn.
    expose(from)?;
    let source = open_directory(from).map_err(DriverError::io("open", from))?;
    make_like(from, to)?;
    let target = open_directory(to).map_err(DriverError::io("open", to))?;
    let options = CopyOptions {
        root_attributes: true,
        one_file_system: true,
        watch: Some(watch),
        ..CopyOptions::default()
    };
    copy_tree(source.as_fd(), target.as_fd(), &options)
        .map(|counts| Replica::Files {
            bytes: counts.bytes,
        })
        .map_err(|source| DriverError::Replicate {
            to: to.to_owned(),
            source,
        })
}

/// An empty filesystem with as much room.
pub(super) fn make_like(from: &Path, to: &Path) -> Result<(), DriverError> {
    let bytes = length(from)?;
    let inodes = capacity(from)?.f_files;
    let limits = Limits {
        bytes: Some(bytes),
        inodes: Some(inodes.saturating_sub(RESERVED)),
    };
    make(to, limits)
}

/// Makes a copy durable, up to its entry in its parent.
pub(super) fn settle(tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError> {
    let image = path(tree);
    let failed = || DriverError::io("sync", tree);
    image_file::sync(&image).map_err(failed())?;
    // Mounted for writing once, it is whole: what its journal still had to say is said.
    expose(tree)?;
    if replica != Replica::Whole {
        open_directory(tree)
            .and_then(|root| Ok(rustix::fs::syncfs(&root)?))
            .map_err(failed())?;
    }
    if access == Access::ReadOnly {
        seal(tree)?;
    }
    image_file::sync(&image)
        .and_then(|()| durable::sync_parent(tree))
        .map_err(failed())
}

/// Lets nobody write to it who is not writing to it now.
pub(super) fn seal(tree: &Path) -> Result<(), DriverError> {
    hide(tree)?;
    image_file::seal(&path(tree), true).map_err(DriverError::io("seal", tree))
}

/// Renames it, the file before the directory: as long as the directory is where it was, there is something to do.
pub(super) fn relocate(from: &Path, to: &Path) -> Result<(), DriverError> {
    hide(from)?;
    let (old, new) = (path(from), path(to));
    let moved = || -> io::Result<()> {
        if image_file::length(&old)?.is_some() {
            durable::rename_new(&old, &new)?;
        }
        durable::rename_new(from, to)
    };
    moved().map_err(DriverError::io("move", from))
}

fn length(tree: &Path) -> Result<u64, DriverError> {
    let image = path(tree);
    let missing = || io::Error::from(rustix::io::Errno::NOENT);
    image_file::length(&image)
        .and_then(|length| length.ok_or_else(missing))
        .map_err(DriverError::io("look at", &image))
}

fn capacity(tree: &Path) -> Result<rustix::fs::StatVfs, DriverError> {
    expose(tree)?;
    open_directory(tree)
        .and_then(|root| Ok(rustix::fs::fstatvfs(&root)?))
        .map_err(DriverError::io("measure", tree))
}

/// What is in it.
pub(super) fn held(tree: &Path) -> Result<Held, DriverError> {
    let stat = capacity(tree)?;
    Ok(Held {
        bytes: (stat.f_blocks - stat.f_bfree).saturating_mul(stat.f_frsize),
        inodes: Some((stat.f_files - stat.f_ffree).saturating_sub(RESERVED)),
    })
}

/// Gives it another size: larger under who uses it where the kernel lets us, smaller only when nobody does.
pub(super) fn resize(tree: &Path, bytes: u64) -> Result<(), DriverError> {
    let wanted = rounded(bytes)?;
    let is = length(tree)?;
    if wanted > is {
        grow(tree, wanted)
    } else if wanted < is {
        shrink(tree, wanted)
    } else {
        Ok(())
    }
}

fn grow(tree: &Path, wanted: u64) -> Result<(), DriverError> {
    let image = path(tree);
    expose(tree)?;
    set_length(tree, wanted)?;
    let device = device_of(&image).map_err(DriverError::io("grow", &image))?;
    let before = length_of_filesystem(tree)?;
    let online = run("resize2fs", &[&device.path().to_string_lossy()]);
    drop(device);
    if online.is_ok() && length_of_filesystem(tree)? > before {
        return Ok(());
    }
    // Without CAP_SYS_RESOURCE only a filesystem that is not mounted grows.
    let grown = unused(tree, || {
        run("resize2fs", &["-f", &image.to_string_lossy()]).map(drop)
    });
    // Whatever failed: the file never ends before its filesystem.
    if grown.is_err() && length_of_filesystem(tree)? <= before {
        set_length(tree, before)?;
    }
    grown.map_err(|error| match (error, online) {
        (DriverError::Live { .. }, Err(DriverError::Program { said, .. })) => {
            DriverError::Live { why: said }
        }
        (error, _) => error,
    })
}

/// Gives the file another length, and tells the device.
fn set_length(tree: &Path, bytes: u64) -> Result<(), DriverError> {
    let image = path(tree);
    let set = || -> io::Result<()> {
        image_file::resize(&image, bytes)?;
        match loop_device::attached(&image)?.first() {
            Some(device) => LoopDevice::open(device)?.resize(),
            None => Ok(()),
        }
    };
    set().map_err(DriverError::io("resize", &image))
}

/// How far the filesystem reaches, by its superblock.
fn length_of_filesystem(tree: &Path) -> Result<u64, DriverError> {
    let image = path(tree);
    let read = || -> io::Result<u64> {
        // Of a mounted one only the device knows the present.
        let device = loop_device::attached(&image)?;
        image_file::ext4_length(device.first().unwrap_or(&image))
    };
    read().map_err(DriverError::io("read", &image))
}

fn shrink(tree: &Path, wanted: u64) -> Result<(), DriverError> {
    let used = held(tree)?.bytes;
    if used > wanted {
        return Err(DriverError::TooFull { used, wanted });
    }
    // A growth that was cut short has not reached the filesystem.
    if length_of_filesystem(tree)? <= wanted {
        return set_length(tree, wanted);
    }
    let image = path(tree);
    let blocks = (wanted / u64::from(BLOCK)).to_string();
    unused(tree, || {
        let image = image.to_string_lossy();
        run("resize2fs", &["-f", &image, &blocks])
            .map(drop)
            .map_err(|error| match error {
                DriverError::Program { said, .. } if said.contains("smaller than minimum") => {
                    DriverError::TooFull { used, wanted }
                }
                error => error,
            })
    })?;
    set_length(tree, wanted)
}

/// Runs `change` on the file while nobody has it mounted.
fn unused(
    tree: &Path,
    change: impl FnOnce() -> Result<(), DriverError>,
) -> Result<(), DriverError> {
    let image = path(tree);
    expose(tree)?;
    let had = has_lost_and_found(tree).map_err(DriverError::io("look at", tree))?;
    hide(tree)?;
    let changed = idle(&image).and_then(|()| {
        // What it needs first; it exits with 1 when it has repaired something.
        run("e2fsck", &["-f", "-p", &image.to_string_lossy()])?;
        change()
    });
    expose(tree)?;
    // e2fsck makes one; with something in it, it stays.
    if !had && let Err(error) = remove_lost_and_found(tree) {
        tracing::warn!(tree = %tree.display(), %error, "lost+found stays");
    }
    changed
}

fn has_lost_and_found(tree: &Path) -> io::Result<bool> {
    let root = open_directory(tree)?;
    match sys::dir::stat_at(root.as_fd(), "lost+found".as_ref()) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the file is free of loop devices; an unmount that has just happened may still be letting one go.
fn idle(image: &Path) -> Result<(), DriverError> {
    const TRIES: u32 = 50;
    const SHORT: std::time::Duration = std::time::Duration::from_millis(5);
    let asked =
        || loop_device::attached(image).map_err(DriverError::io("look for the device of", image));
    for _ in 0..TRIES {
        if asked()?.is_empty() {
            return Ok(());
        }
        std::thread::park_timeout(SHORT);
    }
    let why = "it is mounted in a container".to_owned();
    if asked()?.is_empty() {
        Ok(())
    } else {
        Err(DriverError::Live { why })
    }
}

fn rounded(bytes: u64) -> Result<u64, DriverError> {
    if bytes < LEAST {
        return Err(DriverError::TooSmall { least: LEAST });
    }
    let block = u64::from(BLOCK);
    Ok(bytes.div_ceil(block).saturating_mul(block))
}

/// Runs one of the programs of e2fsprogs; e2fsck says with 1 that it has repaired something.
fn run(program: &'static str, arguments: &[&str]) -> Result<String, DriverError> {
    let output = match sys::command::run(program, arguments) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DriverError::NoProgram { program });
        }
        other => other.map_err(DriverError::io("run", Path::new(program)))?,
    };
    let fine = output.status.success() || (program == "e2fsck" && output.status.code() == Some(1));
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    if fine {
        return Ok(said);
    }
    // Its name and version come first.
    let said = said
        .lines()
        .filter(|line| {
            !line.is_empty() && !line.starts_with("resize2fs 1.") && !line.starts_with("mke2fs 1.")
        })
        .collect::<Vec<_>>()
        .join("; ");
    Err(DriverError::Program { program, said })
}

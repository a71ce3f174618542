//! The container's root file system: an overlay of the image's layers and the container's own directory.
//!
//! The overlay is mounted with mount(2), because its list of layers can be longer than the new mount API takes on
//! kernels before 6.7; the layers are named relative to the working directory, so that a page holds many of them. The
//! place it is mounted on is only visible in the new mount namespace, and gone after pivot_root.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use shim_protocol::StartError;
use shim_protocol::spec::{Mount, MountKind, RootFs};

use super::attach;
use super::sources::{self, Tree};
use super::target::is_directory;
use crate::failure::{During as _, failed};

/// Options of mount(2) are at most a page.
const LONGEST: usize = 4095;

/// Mounts the container's root and opens it. The working directory is the layers'.
pub(crate) fn mount(root: &RootFs) -> Result<OwnedFd, StartError> {
    let what = || "cannot mount the container's root".to_owned();
    let place = root.upper.parent().unwrap_or(Path::new("/"));
    if root.lowers.is_empty() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::open(&root.upper, flags, Mode::empty()).during("root", what)?;
        let tree = attach::copy(upper.as_fd(), false).during("root", what)?;
        attach::attach(tree.as_fd(), upper.as_fd()).during("root", what)?;
        attach::set_propagation(tree.as_fd(), false, sys::mount::Propagation::Private)
            .during("root", what)?;
        return Ok(tree);
    }
    let mut options = lower_option(&root.lowers);
    options.extend(b",upperdir=");
    escape(root.upper.as_os_str().as_bytes(), b"\\,", &mut options);
    options.extend(b",workdir=");
    escape(root.work.as_os_str().as_bytes(), b"\\,", &mut options);
    // A plain upper directory: what is in it can be read, copied and committed without the overlay.
    options.extend(b",index=off,redirect_dir=off,metacopy=off");
    overlay(place, options, MountFlags::empty())?;
    open_top(place)
}

/// A tree for each image mount, in the order of `mounts`. The working directory is the layers', `layers_dir`.
pub(crate) fn mount_images(
    layers_dir: &Path,
    mounts: &[Mount],
    trees: &mut [Option<Tree>],
) -> Result<(), StartError> {
    for (mount, slot) in mounts.iter().zip(trees) {
        let MountKind::Image { lowers, subpath } = &mount.kind else {
            continue;
        };
        let base = match lowers.as_slice() {
            [] => return Err(failed("mount", "cannot mount an image without layers")),
            [only] => sources::open_layer(only)?,
            several => {
                overlay(layers_dir, lower_option(several), MountFlags::RDONLY)?;
                open_top(layers_dir)?
            }
        };
        let what = || format!("cannot mount an image on {}", mount.target);
        let base = match subpath.as_deref().filter(|path| !path.is_empty()) {
            Some(subpath) => sources::below(base.as_fd(), Path::new("image"), subpath)?,
            None => base,
        };
        let tree = attach::copy(base.as_fd(), false).during("mount", what)?;
        *slot = Some(Tree {
            directory: is_directory(&tree).during("mount", what)?,
            mount: tree,
        });
        if lowers.len() > 1 {
            // The copy stays. What a build writes is below this place, too.
            rustix::mount::unmount(layers_dir, UnmountFlags::DETACH).during("mount", what)?;
        }
    }
    Ok(())
}

fn overlay(place: &Path, options: Vec<u8>, flags: MountFlags) -> Result<(), StartError> {
    if options.len() > LONGEST {
        return Err(failed(
            "root",
            "cannot mount the container's root: the image has too many layers for this host",
        ));
    }
    let options =
        CString::new(options).map_err(|_| failed("root", "a layer's path has a NUL in it"))?;
    rustix::mount::mount("overlay", place, "overlay", flags, options.as_c_str()).map_err(|error| {
        let text = crate::failure::text(&error.into());
        let hint = match error {
            Errno::NODEV => " (the kernel has no overlay file system)",
            Errno::INVAL => " (does the file system below support it?)",
            _ => "",
        };
        failed(
            "root",
            format!("cannot mount the overlay of the image's layers: {text}{hint}"),
        )
    })
}

fn lower_option(lowers: &[PathBuf]) -> Vec<u8> {
    let mut options = b"lowerdir=".to_vec();
    for (index, lower) in lowers.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        escape(lower.as_os_str().as_bytes(), b"\\:,", &mut options);
    }
    options
}

fn escape(path: &[u8], special: &[u8], options: &mut Vec<u8>) {
    for byte in path {
        if special.contains(byte) {
            options.push(b'\\');
        }
        options.push(*byte);
    }
}

/// Opens the root of what was mounted last on `place`.
fn open_top(place: &Path) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty())
        .during("root", || "cannot open the container's root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        let lowers = ["3/fs".into(), "a:b,c\\d/fs".into()];
        assert_eq!(lower_option(&lowers), b"lowerdir=3/fs:a\\:b\\,c\\\\d/fs");
    }
}

//! A filesystem of its own for a test, in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::UnmountFlags;

/// A freshly made filesystem, mounted until it is dropped. Kept for a look when the test fails.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mountpoint: PathBuf,
}

impl Disk {
    /// Makes a filesystem of `kind` (`ext4`, `xfs`, `btrfs`) of `bytes`, which are used as they are needed, and mounts it at
    /// `mountpoint`. The image lies beside it.
    ///
    /// # Panics
    /// When the tools or the kernel refuse.
    pub fn mount(kind: &str, mountpoint: &Path, bytes: u64) -> Self {
        let image = mountpoint.with_extension("image");
        fs::create_dir_all(mountpoint).unwrap();
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let disk = Self {
            image,
            mountpoint: mountpoint.to_owned(),
        };
        let (image, mountpoint) = (disk.image.to_str().unwrap(), mountpoint.to_str().unwrap());
        run(&format!("mkfs.{kind}"), &["-q", image]);
        run("mount", &["-o", "loop", image, mountpoint]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Whoever starts a container beside this has all mounts of the host for a moment.
            crate::until(
                &format!("{} can be unmounted", self.mountpoint.display()),
                || rustix::mount::unmount(&self.mountpoint, UnmountFlags::empty()).ok(),
            );
            fs::remove_dir(&self.mountpoint).unwrap();
            fs::remove_file(&self.image).unwrap();
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

//! `populate`: fills an empty volume from a directory, as Docker does when a container is created.
//!
//! The volume's root also receives owner, mode, times and attributes of the source, even when the source is empty. A volume
//! that holds anything, be it a `lost+found`, is left alone. If the copy breaks off, what it made is removed again.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::OFlags;
use sys::copy_tree::{CopyOptions, copy_tree};

use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Copies the contents of `source` into the volume, or into `subpath` of it, if that is empty; whether it did.
    ///
    /// # Errors
    /// [`VolumeError::Subpath`] when there is no such directory in the volume, [`VolumeError::Populate`].
    pub fn populate(&self, name: &str, subpath: Option<&str>, source: BorrowedFd<'_>) -> Result<bool, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let mut target = self.open_content(&row)?;
        if let Some(subpath) = subpath {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            target = match sys::dir::open_beneath(target.as_fd(), Path::new(subpath), flags) {
                Ok(target) => target,
                // A subpath that is missing, or is a file, fails the start, not the create.
                Err(error)
                    if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
                {
                    return Ok(false);
                }
                Err(source) => {
                    return Err(VolumeError::Subpath {
                        name: name.to_owned(),
                        subpath: subpath.to_owned(),
                        source,
                    });
                }
            };
        }
        let content = self.paths.volume_content(&row.id);
        let entries = sys::dir::read_dir(target.as_fd()).map_err(VolumeError::io("list", &content))?;
        if !entries.is_empty() {
            return Ok(false);
        }
        let options = CopyOptions { root_attributes: true, ..CopyOptions::default() };
        if let Err(source) = copy_tree(source, target.as_fd(), &options) {
            // It was empty and nobody else saw it under this lock: what is in it now is ours.
            if let Err(error) = sys::dir::remove_contents(target.as_fd()) {
                tracing::warn!(volume = name, %error, "part of a copy stays");
            }
            return Err(VolumeError::Populate { name: name.to_owned(), source });
        }
        Ok(true)
    }
}

//! `populate`: fills an empty volume from a directory, as Docker does when a container is created.
//!
//! The volume's root also receives owner, mode, times and attributes of the source, even when the source is empty. A
//! volume that holds anything, be it a `lost+found`, is left alone, and so is what another user of the volume puts into
//! it while it is being filled. The steps are those of [`crate::fill`].

use std::os::fd::{AsFd as _, BorrowedFd};

use crate::fill::{Source, Wish};
use crate::merge::Existing;
use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Copies the contents of `source` into the volume, or into the directory `subpath` of it, if that is empty; whether
    /// it did. A subpath that is missing or is no directory is not filled: mounting it will fail.
    ///
    /// A volume that its driver mounts must be mounted by the caller. What `seed` says of the source is noted with it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`], [`VolumeError::Populate`]: nothing has changed.
    /// [`VolumeError::Merge`]: a part may be there.
    pub fn populate(
        &self,
        name: &str,
        subpath: Option<&str>,
        source: BorrowedFd<'_>,
        seed: Option<&str>,
    ) -> Result<bool, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let content = self.paths.volume_content(&row.id);
        let Some(target) = self.open_subpath(&row, subpath)? else {
            return Ok(false);
        };
        let is_empty = |directory| {
            sys::dir::read_dir(directory)
                .map(|entries| entries.is_empty())
                .map_err(VolumeError::io("list", &content))
        };
        if !is_empty(target.as_fd())? {
            return Ok(false);
        }
        if is_empty(source)? {
            // Nothing to stage: attributes are set in place.
            sys::attributes::copy(source, target.as_fd())
                .and_then(|()| sys::durable::sync_fd(target.as_fd()))
                .map_err(VolumeError::io("set the attributes of", &content))?;
        } else {
            let wish = Wish {
                seed: seed.map(str::to_owned),
                ..Wish::new(Existing::Keep)
            };
            self.fill(&row, subpath, Source::Tree(source), wish)?;
        }
        Ok(true)
    }
}

//! `usage`: what a volume takes on the disk.

use std::os::fd::AsFd as _;

use store::VolumeId;
use sys::dir::TreeSize;

use crate::{VolumeError, Volumes};

impl Volumes {
    /// Bytes of the blocks that its files take, hard links counted once. Walks the whole tree.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Unavailable`], [`VolumeError::Elsewhere`].
    pub fn usage(&self, name: &str) -> Result<u64, VolumeError> {
        Ok(self.tree_size(name)?.1.bytes)
    }

    pub(crate) fn tree_size(&self, name: &str) -> Result<(VolumeId, TreeSize), VolumeError> {
        let row = self.row(name)?;
        self.must_be_here(&row.name, &row.driver, "measured")?;
        let content = self.open_content(&row)?;
        let size = sys::dir::tree_size_at(content.as_fd()).map_err(VolumeError::io(
            "measure",
            self.paths.volume_content(&row.id),
        ))?;
        Ok((row.id, size))
    }
}

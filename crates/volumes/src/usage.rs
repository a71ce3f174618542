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
        let measured = self.tree_size(name, &mut |_| true)?;
        Ok(measured.expect("nobody ends it").1.bytes)
    }

    /// `None` when `go_on`, which hears how many entries were counted, has said no.
    pub(crate) fn tree_size(
        &self,
        name: &str,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<(VolumeId, TreeSize)>, VolumeError> {
        let row = self.row(name)?;
        self.must_be_here(&row.name, &row.driver, "measured")?;
        let content = self.open_content(&row)?;
        let size = sys::dir::tree_size_while(content.as_fd(), go_on).map_err(VolumeError::io(
            "measure",
            self.paths.volume_content(&row.id),
        ))?;
        Ok(size.map(|size| (row.id, size)))
    }
}

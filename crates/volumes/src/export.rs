//! `export`: a volume's contents as one tar stream that GNU tar reads.

use std::io::Write;
use std::os::fd::AsFd as _;

use crate::{VolumeError, Volumes};

impl Volumes {
    /// Writes the contents, beginning with an entry for the root. The volume may be in use; what changes meanwhile is
    /// exported as it was when it was read.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Export`], and those of mounting the volume.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), VolumeError> {
        const HOLDER: &str = "export";
        self.mount(name, HOLDER)?;
        let packed = self.export_mounted(name, out);
        self.unmount(name, HOLDER)?;
        packed
    }

    fn export_mounted(&self, name: &str, out: &mut dyn Write) -> Result<(), VolumeError> {
        let content = self.open_content(&self.row(name)?)?;
        let options = archive::PackOptions { root_entry: true, ..archive::PackOptions::default() };
        archive::pack(content.as_fd(), out, &options)
            .map(drop)
            .map_err(|source| VolumeError::Export { name: name.to_owned(), source })
    }
}

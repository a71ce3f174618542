//! `export`: a volume's contents as one tar stream that GNU tar reads.

use std::io::Write;
use std::os::fd::AsFd as _;

use crate::mount::EXPORT;
use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Writes the contents, beginning with an entry for the root. The volume may be in use; what changes meanwhile is
    /// exported as it was when it was read.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Export`], and those of mounting the volume.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let row = {
            let _held = held(&lock);
            let row = self.row_or_found(name)?;
            self.attach(&row, EXPORT)?;
            row
        };
        // Not under the lock: a slow reader must not keep containers from starting.
        let packed = self.open_content(&row).and_then(|content| {
            let options = archive::PackOptions {
                root_entry: true,
                ..archive::PackOptions::default()
            };
            archive::pack(content.as_fd(), out, &options)
                .map(drop)
                .map_err(|source| VolumeError::Export {
                    name: name.to_owned(),
                    source,
                })
        });
        let _held = held(&lock);
        let detached = self.detach(&row, EXPORT);
        packed.and(detached)
    }
}

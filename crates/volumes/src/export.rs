//! `export`: a volume's contents as one tar stream that GNU tar reads, compressed if that is wished.
//!
//! In front of the files stands what the volume says of itself ([`crate::passport`]), in a header that other programs pass
//! over: what they unpack are the volume's files, nothing else.

use std::io::Write;
use std::os::fd::AsFd as _;

use archive::Compressed;

use crate::mount::EXPORT;
use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Writes the contents, beginning with an entry for the root. The volume may be in use; what changes meanwhile is
    /// exported as it was when it was read.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Export`], and those of mounting the volume.
    pub fn export(
        &self,
        name: &str,
        compressed: Compressed,
        out: &mut dyn Write,
    ) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let row = {
            let _held = held(&lock);
            let row = self.row_or_found(name)?;
            self.attach(&row, EXPORT)?;
            row
        };
        // Not under the lock: a slow reader must not keep containers from starting.
        let packed = self.open_content(&row).and_then(|content| {
            let annotations = self.passport(&row)?.annotations();
            let options = archive::PackOptions {
                root_entry: true,
                annotations: &annotations,
                ..archive::PackOptions::default()
            };
            let failed = |source| VolumeError::Export {
                name: name.to_owned(),
                source,
            };
            let unwritten = |source| failed(archive::PackError::Write { source });
            let mut writer = compressed.writer(out).map_err(unwritten)?;
            archive::pack(content.as_fd(), &mut writer, &options).map_err(failed)?;
            writer.finish().and_then(Write::flush).map_err(unwritten)
        });
        let _held = held(&lock);
        let detached = self.detach(&row, EXPORT);
        packed.and(detached)
    }
}

//! `export`: a volume's contents as one tar stream that GNU tar reads, compressed if that is wished.
//!
//! In front of the files stands what the volume says of itself ([`crate::passport`]), in a header that other programs pass
//! over: what they unpack are the volume's files, nothing else.

use std::io::Write;

use archive::Compressed;

use crate::mount::EXPORT;
use crate::{VolumeError, Volumes};

impl Volumes {
    /// Writes the contents of a volume, or of a snapshot (`VOLUME@SNAPSHOT`), beginning with an entry for the root. The volume may
    /// be in use; what changes meanwhile is exported as it was when it was read.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Export`], and those of mounting the volume.
    pub fn export(
        &self,
        name: &str,
        compressed: Compressed,
        out: &mut dyn Write,
    ) -> Result<(), VolumeError> {
        self.with_readable(name, EXPORT, |row, content| {
            let annotations = self.passport(row)?.annotations();
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
            archive::pack(content, &mut writer, &options).map_err(failed)?;
            writer.finish().and_then(Write::flush).map_err(unwritten)
        })
    }
}

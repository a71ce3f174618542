//! `import`: the contents of a tar archive into a volume.
//!
//! As with `tar -x`, files of the archive replace those of the same name and others stay; the volume's root changes
//! only if the archive has an entry for it. The steps are those of [`crate::fill`].

use std::io::Read;

use crate::fill::{Source, Wish};
use crate::merge::Existing;
use crate::mount::IMPORT;
use crate::{VolumeError, Volumes, held};

impl Volumes {
    /// Unpacks `tar` (plain, gzip or zstd) into the volume, which may be in use.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], those of mounting, [`VolumeError::Compression`] and [`VolumeError::Import`] for an
    /// archive that cannot be taken: nothing has changed. [`VolumeError::Merge`]: a part may be there.
    pub fn import(&self, name: &str, tar: &mut (dyn Read + Send)) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row_or_found(name)?;
        let plain = archive::decompress(tar).map_err(|source| VolumeError::Compression {
            name: name.to_owned(),
            source,
        })?;
        self.attach(&row, IMPORT)?;
        let imported = self.fill(
            &row,
            None,
            Source::Archive(plain),
            Wish::new(Existing::Replace),
        );
        let detached = self.detach(&row, IMPORT);
        imported.and(detached)
    }
}

//! `import`: the contents of a tar archive into a volume.
//!
//! As with `tar -x`, files of the archive replace those of the same name and others stay; the volume's root changes
//! only if the archive has an entry for it. The steps are those of [`crate::fill`].
//!
//! A volume that is not there is made first if the archive says of itself what it was exported from
//! ([`crate::passport`]); one that is there keeps its own labels, driver and limits. If the archive then turns out to be
//! broken the new volume goes again; a crash at that moment can leave it, empty.

use std::io::{self, Read};

use archive::CompressionError;

use crate::fill::{Source, Wish};
use crate::merge::Existing;
use crate::mount::IMPORT;
use crate::passport::Passport;
use crate::{Disposal, VolumeError, Volumes, held};

/// What an import did beside its contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The volume was not there before.
    pub created: bool,
    /// In what the new volume is not as the exported one was, one sentence each.
    pub warnings: Vec<String>,
}

impl Volumes {
    /// Unpacks `tar` (plain, gzip, bzip2, xz or zstd) into the volume, which may be in use.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`] for a volume that is neither there nor described by the archive, those of making it and
    /// of mounting, [`VolumeError::Compression`] and [`VolumeError::Import`] for an archive that cannot be taken: nothing
    /// has changed. [`VolumeError::Merge`]: a part may be there.
    pub fn import(&self, name: &str, tar: &mut (dyn Read + Send)) -> Result<Imported, VolumeError> {
        let unreadable = |source| VolumeError::Compression {
            name: name.to_owned(),
            source,
        };
        let there = {
            let lock = self.name_lock(name);
            let _held = held(&lock);
            self.row_or_found(name)
        };
        match there {
            Ok(_) => {
                let plain = archive::decompress(tar).map_err(unreadable)?;
                self.unpack_into(name, Box::new(plain))?;
                Ok(Imported::default())
            }
            Err(absent @ VolumeError::NotFound(_)) => {
                let plain = archive::decompress(tar).map_err(unreadable)?;
                let broken = |source: io::Error| unreadable(CompressionError::Read { source });
                let (annotations, whole) = archive::annotations(plain).map_err(broken)?;
                let passport = Passport::among(&annotations).ok_or(absent)?;
                let (request, warnings) = passport.request(name);
                let created = self.create(request)?.fresh;
                self.unpack_into(name, Box::new(whole))
                    .inspect_err(|error| self.take_back(name, created, error))?;
                Ok(Imported { created, warnings })
            }
            Err(other) => Err(other),
        }
    }

    fn unpack_into<'a>(
        &self,
        name: &str,
        plain: Box<dyn Read + Send + 'a>,
    ) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row_or_found(name)?;
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

    /// Removes the volume that an import has made in vain, unless a part of the archive is in it.
    fn take_back(&self, name: &str, created: bool, why: &VolumeError) {
        if created
            && !matches!(why, VolumeError::Merge { .. })
            && let Err(error) = self.dispose(name, true, Disposal::Now)
        {
            tracing::warn!(volume = name, %error, "the volume that a failed import has made stays");
        }
    }
}

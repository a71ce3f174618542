//! `import`: the contents of a tar archive into a volume.
//!
//! As with `tar -x`, files of the archive replace those of the same name and others stay; the volume's root changes
//! only if the archive has an entry for it. The steps are those of [`crate::fill`].
//!
//! A volume that is not there is made if the archive says of itself what it was exported from ([`crate::passport`]): it is
//! seen once it has all of the contents, and the steps are those of [`crate::receive`]. One that is there keeps its own
//! labels, driver and limits.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;

use archive::CompressionError;

use crate::fill::{Source, Wish, unpack};
use crate::merge::Existing;
use crate::mount::IMPORT;
use crate::passport::Passport;
use crate::receive::{Received, own};
use crate::{VolumeError, Volumes, held, open_directory};

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
                let received = Received {
                    event: Some(("import".to_owned(), String::new())),
                    ..Received::default()
                };
                let mut whole = Some(whole);
                let mut filling = |content: &Path| -> Result<(), Box<dyn Error + Send + Sync>> {
                    let whole = whole.take().expect("a volume is filled once");
                    let root = open_directory(content).map_err(VolumeError::io("open", content))?;
                    Ok(unpack(whole, &root, name)?)
                };
                self.receive(request, received, &mut filling).map_err(own)?;
                Ok(Imported {
                    created: true,
                    warnings,
                })
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
}

//! What pulls have fetched of layers, kept until the image is there, so that a pull that is cut off can be continued.
//!
//! A blob is written to `downloads/<hexadecimal digest>` from its first byte. When it is complete and right, the layer's
//! `blob` becomes a second name of the same file, and the first one goes after the image was committed. So whatever ends
//! a pull leaves what had come, in one place, and a pull that succeeds leaves nothing.
//!
//! * A blob has one writer; who comes second fetches for itself.
//! * A file with a second name is never written: it is a layer's.
//! * Nothing here is believed: sizes and digests are checked over the whole, by whoever continues.
//! * What nobody continues goes after a day, and the oldest goes first when all of it takes too much.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::layers::create_file;
use super::{ImageError, ImagePruneReport, Images, Removed};

/// How long a blob waits for somebody to go on with it.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// What all of them may take together, in bytes.
const MOST: u64 = 10 << 30;

/// Blobs, by hexadecimal digest, that are being written or made a layer's.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    held: Mutex<BTreeSet<String>>,
}

impl Downloads {
    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while somebody else has it.
    fn hold(&self, digest: &str) -> Option<Held<'_>> {
        let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
        self.held().insert(hex.to_owned()).then(|| Held {
            downloads: self,
            hex: hex.to_owned(),
        })
    }
}

#[derive(Debug)]
struct Held<'a> {
    downloads: &'a Downloads,
    hex: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.downloads.held().remove(&self.hex);
    }
}

/// A blob that this pull alone writes.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    path: PathBuf,
    file: File,
    /// Bytes that an earlier pull left.
    known: u64,
    _held: Held<'a>,
}

impl Kept<'_> {
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// Another handle of the file, for reading and writing.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file, which is complete and right, a second name.
    pub(super) fn become_blob(&self, path: &Path) -> io::Result<()> {
        match fs::hard_link(&self.path, path) {
            // Somebody has put the layers on a disk of their own.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let mut from = File::open(&self.path)?;
                io::copy(&mut from, &mut create_file(path)?).map(drop)
            }
            result => result,
        }
    }

    /// Leaves it to the next pull, if there is anything to be left.
    pub(super) fn leave(self) {
        if self.file.metadata().is_ok_and(|is| is.len() == 0) {
            self.discard();
        }
    }

    /// What it holds is wrong, or must make room.
    pub(super) fn discard(self) {
        if let Err(error) = unlink(&self.path) {
            // Its digest will be found wrong again, or it goes with its age.
            tracing::warn!(path = %self.path.display(), %error, "a broken download stays");
        }
    }
}

impl Images {
    /// The blob with this digest and size as far as it was fetched; `None` while somebody else fetches it.
    pub(super) fn kept_download(
        &self,
        digest: &str,
        size: u64,
    ) -> Result<Option<Kept<'_>>, ImageError> {
        let Some(held) = self.downloads.hold(digest) else {
            return Ok(None);
        };
        let path = self.paths.download(&held.hex);
        let open = || -> io::Result<(File, u64)> {
            let mut options = File::options();
            options.read(true).write(true).create(true).mode(0o600);
            let file = options.open(&path)?;
            let is = file.metadata()?;
            if is.len() == size || (is.len() < size && is.nlink() == 1) {
                return Ok((file, is.len()));
            }
            // Another size was said before: one of the two is a lie.
            unlink(&path)?;
            Ok((options.create_new(true).open(&path)?, 0))
        };
        let (file, known) = open().map_err(|source| ImageError::Io {
            action: format!("cannot keep what is downloaded in {}", path.display()),
            source,
        })?;
        Ok(Some(Kept {
            path,
            file,
            known,
            _held: held,
        }))
    }

    /// Takes the first names of blobs away that belong to layers of an image now.
    pub(super) fn forget_downloads<'d>(&self, digests: impl Iterator<Item = &'d str>) {
        for digest in digests {
            // Whoever has it besides us will do the same, or leave it to the next tidying.
            let Some(held) = self.downloads.hold(digest) else {
                continue;
            };
            let path = self.paths.download(&held.hex);
            match unlink(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a finished download stays");
                }
                _ => {}
            }
        }
    }

    /// Takes away what an engine that died left of blobs that are layers by now. Only at the start: pulls are under way later.
    pub(super) fn forget_finished_downloads(&self) -> Result<(), ImageError> {
        for (entry, is) in self.list_downloads()? {
            if is.nlink() > 1 {
                self.remove_download(&entry)?;
            }
        }
        Ok(())
    }

    /// Removes what is too old, and the oldest of what is too much.
    pub(crate) fn tidy_downloads(&self) -> Result<(), ImageError> {
        let mut files = self.list_downloads()?;
        files.sort_by_key(|(_, is)| std::cmp::Reverse(is.modified().ok()));
        let now = SystemTime::now();
        let mut taken = 0_u64;
        for (entry, is) in files {
            taken = taken.saturating_add(own_bytes(&is));
            let expired = is
                .modified()
                .ok()
                .and_then(|modified| now.duration_since(modified).ok())
                .is_some_and(|age| age > KEPT);
            if expired || taken > MOST {
                self.remove_download(&entry)?;
            }
        }
        Ok(())
    }

    /// Removes what no pull has its hands on and what was last written before `until`.
    pub(super) fn prune_downloads(
        &self,
        until: Option<SystemTime>,
        report: &mut ImagePruneReport,
    ) -> Result<(), ImageError> {
        for (entry, is) in self.list_downloads()? {
            let wanted = until.is_none_or(|until| is.modified().is_ok_and(|is| is < until));
            if wanted && self.remove_download(&entry)? {
                let hex = entry.file_name();
                let digest = format!("sha256:{}", hex.to_string_lossy());
                report.deleted.push(Removed::Deleted(digest));
                report.reclaimed += own_bytes(&is);
            }
        }
        Ok(())
    }

    /// The bytes of all blobs that are no layer's.
    pub(crate) fn downloads_size(&self) -> Result<u64, ImageError> {
        let files = self.list_downloads()?;
        Ok(files.iter().map(|(_, is)| own_bytes(is)).sum())
    }

    fn list_downloads(&self) -> Result<Vec<(DirEntry, Metadata)>, ImageError> {
        let list = || -> io::Result<Vec<(DirEntry, Metadata)>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(self.paths.downloads())? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(is) => files.push((entry, is)),
                    // A pull has ended meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(files)
        };
        list().map_err(|source| ImageError::Io {
            action: format!("cannot read {}", self.paths.downloads().display()),
            source,
        })
    }

    /// Whether it was there and nobody has it.
    fn remove_download(&self, entry: &DirEntry) -> Result<bool, ImageError> {
        let Some(_held) = self.downloads.hold(&entry.file_name().to_string_lossy()) else {
            return Ok(false);
        };
        match unlink(&entry.path()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ImageError::Io {
                action: format!("cannot remove {}", entry.path().display()),
                source,
            }),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what comes back after a power cut is as good as ever"
)]
fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// What its removal frees.
fn own_bytes(is: &Metadata) -> u64 {
    if is.nlink() == 1 { is.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it() {
        let downloads = Downloads::default();
        let first = downloads.hold("sha256:ab").expect("free");
        assert!(downloads.hold("ab").is_none());
        assert!(downloads.hold("sha256:cd").is_some());
        drop(first);
        assert!(downloads.hold("sha256:ab").is_some());
    }
}

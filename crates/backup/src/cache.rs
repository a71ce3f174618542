//! A cache of what is small and read at every run: index, records of backups, packs of trees.
//!
//! It holds sealed files under their ids, each below the repository's id. What is in it is only believed when it is what its
//! name says or opens with the key; it may be removed at any time, and a cache that cannot be written costs speed only.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::Id;

use crate::error::BackupError;
use crate::place::{Kind, Name, PlaceError, Storage};
use crate::repository::checked;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

#[derive(Debug)]
pub(crate) struct Cached {
    inner: Arc<dyn Storage>,
    path: PathBuf,
}

impl Cached {
    pub(crate) fn new(
        inner: Arc<dyn Storage>,
        path: &Path,
        repository: Id,
    ) -> Result<Self, BackupError> {
        let path = path.join(repository.to_hex().as_str());
        for kind in [Kind::Index, Kind::Snapshot, Kind::Pack] {
            let path = path.join(kind.directory());
            sys::durable::create_dir_all(&path, DIRECTORY_MODE)
                .map_err(|source| BackupError::Cache { path, source })?;
        }
        Ok(Self { inner, path })
    }

    fn path(&self, name: Name) -> PathBuf {
        let id = name.id.to_hex();
        self.path.join(name.kind.directory()).join(id.as_str())
    }

    fn keep(&self, name: Name, bytes: &[u8]) {
        // Not synced: after a power cut the file is not what its name says, and is fetched again.
        let write = || sys::durable::write_unsynced(&self.path(name), bytes, FILE_MODE);
        let written = match write() {
            // One that was of no use: we would not be here otherwise.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.forget(name);
                write()
            }
            other => other,
        };
        if let Err(error) = written {
            tracing::debug!(%error, %name, "not kept in the cache");
        }
    }

    fn forget(&self, name: Name) {
        if let Err(error) = sys::durable::remove_file(&self.path(name)) {
            tracing::debug!(%error, %name, "not removed from the cache");
        }
    }

    fn kept(&self, name: Name) -> Option<Bytes> {
        let bytes = std::fs::read(self.path(name)).ok()?;
        let good = checked(name, bytes.into());
        if good.is_none() {
            self.forget(name);
        }
        good
    }

    fn kept_part(&self, name: Name, offset: u64, length: u64) -> Option<Bytes> {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::open(self.path(name)).ok()?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes.into())
    }

    /// Removes what the repository no longer has, or has in another length: what is cut short there shall not look whole here.
    fn prune(&self, kind: Kind, there: &[(Id, u64)]) {
        let there: HashMap<Id, u64> = there.iter().copied().collect();
        let directory = self.path.join(kind.directory());
        let entries =
            sys::dir::open(&directory).and_then(|opened| sys::dir::read_dir(opened.as_fd()));
        for entry in entries.unwrap_or_default() {
            let id = entry.name.to_str().and_then(|name| name.parse().ok());
            let Some(id) = id else { continue };
            let name = Name::new(kind, id);
            let kept = std::fs::metadata(self.path(name)).map(|metadata| metadata.len());
            if kept.ok().as_ref() != there.get(&id) {
                self.forget(name);
            }
        }
    }
}

impl Storage for Cached {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        self.inner.prepare()
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        let files = self.inner.list(kind)?;
        if matches!(kind, Kind::Index | Kind::Snapshot | Kind::Pack) {
            self.prune(kind, &files);
        }
        Ok(files)
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        let keeps = matches!(name.kind, Kind::Index | Kind::Snapshot);
        if let Some(bytes) = keeps.then(|| self.kept(name)).flatten() {
            return Ok(bytes);
        }
        let bytes = self.inner.read(name)?;
        if keeps && checked(name, bytes.clone()).is_some() {
            self.keep(name, &bytes);
        }
        Ok(bytes)
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        self.inner.read_part(name, offset, length)
    }

    fn read_part_of_kept(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        if let Some(bytes) = self.kept_part(name, offset, length) {
            return Ok(bytes);
        }
        let whole = self.inner.read(name)?;
        let part = usize::try_from(offset).ok().and_then(|from| {
            let to = from.checked_add(usize::try_from(length).ok()?)?;
            (to <= whole.len()).then(|| whole.slice(from..to))
        });
        if checked(name, whole.clone()).is_some() {
            self.keep(name, &whole);
        }
        part.ok_or_else(|| PlaceError::Short {
            place: self.shown(),
            file: name.to_string(),
            got: whole.len() as u64,
            wanted: offset.saturating_add(length),
        })
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        self.inner.write(name, bytes)?;
        if matches!(name.kind, Kind::Index | Kind::Snapshot) {
            self.keep(name, bytes);
        }
        Ok(())
    }

    fn write_kept(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        self.inner.write(name, bytes)?;
        self.keep(name, bytes);
        Ok(())
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        self.inner.remove(name)?;
        if matches!(name.kind, Kind::Index | Kind::Snapshot | Kind::Pack) {
            self.forget(name);
        }
        Ok(())
    }

    fn doubt(&self, name: Name) {
        self.forget(name);
    }

    fn sweep(&self) -> Result<(), PlaceError> {
        self.inner.sweep()
    }
}

//! A repository that was opened: its key, its configuration, its files.
//!
//! What is read was checked before it is believed: files against their names, which are their hashes, and all but keys
//! against the key; blobs against their ids.

use std::sync::Arc;

use bytes::Bytes;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustic_core::Id;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cache::Cached;
use crate::crypt::{Cipher, MasterKey, id_of};
use crate::error::BackupError;
use crate::index::{BlobKind, Index, IndexBlob, IndexFile, IndexPack, Spot};
use crate::node::Tree;
use crate::place::{Kind, Name, PlaceError, Storage};
use crate::places::{self, Place};
use crate::suspects::Suspects;
use crate::{format, keys};

/// What proves that one may read.
#[derive(Clone, Copy)]
pub enum Unlock<'a> {
    /// Costs a good part of a second, as it is meant to.
    Password(&'a str),
    /// A key that [`Repository::master_key`] gave earlier.
    Master(&'a MasterKey),
}

impl std::fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Master(_) => "Master(…)",
        })
    }
}

/// Receives how far a long operation is, from several threads, and may end it.
pub trait Watch: Send + Sync {
    /// How many bytes there are to do, as far as is known; may be told again.
    fn total(&self, bytes: u64);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// Whether to stop; the operation then ends with [`BackupError::Stopped`] and leaves nothing that a next one trips over.
    fn stop(&self) -> bool;
}

/// For those who do not watch.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stop(&self) -> bool {
        false
    }
}

/// The configuration file of a repository, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: u32,
    pub(crate) id: Id,
    pub(crate) chunker_polynomial: String,
    #[serde(default)]
    append_only: Option<bool>,
}

/// A repository that was opened.
#[derive(Debug)]
pub struct Repository {
    /// Through the cache, if there is one.
    pub(crate) storage: Arc<dyn Storage>,
    /// The place itself, for those who doubt the cache.
    pub(crate) origin: Arc<dyn Storage>,
    pub(crate) key: MasterKey,
    pub(crate) cipher: Cipher,
    pub(crate) config: Config,
    /// What was found to be damaged; nothing is remembered without a cache.
    pub(crate) suspects: Option<Suspects>,
}

impl Drop for Repository {
    /// Whatever was done with it took a good part of the memory that the process will ever need.
    fn drop(&mut self) {
        sys::heap::give_back();
    }
}

impl Repository {
    /// Makes a repository of restic's version 2 with one key.
    ///
    /// # Errors
    /// [`BackupError::Exists`] where there is one; those of the place.
    pub fn create(place: &Place, password: &str) -> Result<Self, BackupError> {
        let origin = places::open(place)?;
        if !origin.list(Kind::Config)?.is_empty() {
            return Err(BackupError::Exists {
                place: origin.shown(),
            });
        }
        let key = format::create(&origin, password)?;
        Self::with_key(place, origin, key)
    }

    /// Opens the repository in `place`.
    ///
    /// # Errors
    /// [`BackupError::NoRepository`], [`BackupError::WrongPassword`], [`BackupError::WrongKey`]; those of the place.
    pub fn open(place: &Place, unlock: Unlock<'_>) -> Result<Self, BackupError> {
        let origin = places::open(place)?;
        let key = match unlock {
            Unlock::Master(key) => key.clone(),
            Unlock::Password(password) => {
                if origin.list(Kind::Config)?.is_empty() {
                    return Err(BackupError::NoRepository {
                        place: origin.shown(),
                    });
                }
                keys::with_password(&*origin, password)?
            }
        };
        Self::with_key(place, origin, key)
    }

    fn with_key(
        place: &Place,
        origin: Arc<dyn Storage>,
        key: MasterKey,
    ) -> Result<Self, BackupError> {
        let shown = origin.shown();
        let wrong = || BackupError::WrongKey {
            place: shown.clone(),
        };
        let cipher = Cipher::new(&key).ok_or_else(wrong)?;
        let sealed = origin.read(Name::config()).map_err(|error| {
            if error.is_missing() {
                BackupError::NoRepository {
                    place: shown.clone(),
                }
            } else {
                error.into()
            }
        })?;
        let plain = cipher.open_file(&sealed).ok_or_else(wrong)?;
        let config: Config = serde_json::from_slice(&plain).map_err(|_| BackupError::Damaged {
            place: shown.clone(),
            what: "config".to_owned(),
        })?;
        if !(1..=2).contains(&config.version) {
            return Err(BackupError::Version {
                place: shown,
                version: config.version,
            });
        }
        let storage = match &place.cache {
            None => Arc::clone(&origin),
            Some(path) => Arc::new(Cached::new(Arc::clone(&origin), path, config.id)?),
        };
        let suspects = place.cache.as_deref();
        Ok(Self {
            suspects: suspects.map(|path| Suspects::beside(path, config.id)),
            storage,
            origin,
            key,
            cipher,
            config,
        })
    }

    /// The id that the repository has wherever it is: two locations with the same id are the same repository, or copies.
    #[must_use]
    pub fn id(&self) -> String {
        self.config.id.to_hex().to_string()
    }

    /// As it may be shown, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        self.origin.shown()
    }

    /// The key that opens the repository without a password, until the repository is made anew. Whoever has it can read
    /// everything: keep it as the password is kept.
    #[must_use]
    pub fn master_key(&self) -> MasterKey {
        self.key.clone()
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            place: self.shown(),
            what: what.into(),
        }
    }

    /// Refused in repositories whose owner said so.
    pub(crate) fn may_remove(&self) -> Result<(), BackupError> {
        if self.config.append_only == Some(true) {
            return Err(BackupError::AppendOnly {
                place: self.shown(),
            });
        }
        Ok(())
    }

    /// A file whose name is its hash, decrypted and understood.
    pub(crate) fn file<T: DeserializeOwned>(
        &self,
        storage: &dyn Storage,
        name: Name,
    ) -> Result<T, BackupError> {
        let sealed = storage.read(name)?;
        self.understand(name, &sealed)
    }

    pub(crate) fn understand<T: DeserializeOwned>(
        &self,
        name: Name,
        sealed: &[u8],
    ) -> Result<T, BackupError> {
        let damaged = || self.damaged(name.to_string());
        if id_of(sealed) != name.id {
            return Err(damaged());
        }
        let plain = self.cipher.open_file(sealed).ok_or_else(damaged)?;
        serde_json::from_slice(&plain).map_err(|_| damaged())
    }

    /// Writes a file that is named by its hash.
    pub(crate) fn save_file(
        &self,
        kind: Kind,
        content: &impl serde::Serialize,
    ) -> Result<Id, BackupError> {
        let plain =
            serde_json::to_vec(content).expect("what this crate writes has only texts as keys");
        let sealed = self.cipher.seal_file(&plain, self.config.version);
        let id = id_of(&sealed);
        self.storage.write(Name::new(kind, id), &sealed)?;
        Ok(id)
    }

    /// All of the index that can be read; what is missing is told when something is not found.
    pub(crate) fn index(&self) -> Result<Index, BackupError> {
        let (packs, damaged) = self.indexed()?;
        Ok(Index::of(&packs, &damaged))
    }

    /// What the files of the index say, and those that are not what was written.
    pub(crate) fn indexed(&self) -> Result<(Vec<IndexPack>, Vec<Id>), BackupError> {
        let files: Vec<(Id, Option<IndexFile>)> = self
            .storage
            .list(Kind::Index)?
            .into_par_iter()
            .map(
                |(id, _)| match self.file(&*self.storage, Name::new(Kind::Index, id)) {
                    Ok(file) => Ok((id, Some(file))),
                    Err(BackupError::Damaged { what, .. }) => {
                        tracing::warn!(what, "a part of the index is damaged");
                        Ok((id, None))
                    }
                    Err(error) => Err(error),
                },
            )
            .collect::<Result<_, _>>()?;
        let (mut packs, mut damaged) = (Vec::new(), Vec::new());
        for (id, file) in files {
            match file {
                Some(file) => packs.extend(file.packs),
                None => damaged.push(id),
            }
        }
        Ok((packs, damaged))
    }

    /// A blob, decrypted, decompressed and checked, from whichever pack still has it.
    pub(crate) fn blob(
        &self,
        index: &Index,
        kind: BlobKind,
        id: Id,
    ) -> Result<Vec<u8>, BackupError> {
        let mut first = None;
        for spot in index.spots(kind, &id) {
            match self.blob_at(index, kind, id, spot) {
                Err(error) if error.is_loss() => {
                    first.get_or_insert(error);
                }
                other => return other,
            }
        }
        Err(first.unwrap_or_else(|| self.nowhere(index, id)))
    }

    /// What to say of a blob that the index does not have.
    pub(crate) fn nowhere(&self, index: &Index, blob: Id) -> BackupError {
        let blob = blob.to_hex();
        let blob = blob.as_str();
        self.damaged(match index.damaged().first() {
            Some(file) => format!(
                "{} (blob {blob} is in no other part of the index)",
                Name::new(Kind::Index, *file)
            ),
            None => format!("the index: blob {blob} is in no pack"),
        })
    }

    fn blob_at(
        &self,
        index: &Index,
        kind: BlobKind,
        id: Id,
        spot: Spot,
    ) -> Result<Vec<u8>, BackupError> {
        let name = Name::new(Kind::Pack, index.pack(spot.pack));
        let (offset, length) = (u64::from(spot.offset), u64::from(spot.length));
        let read = |storage: &dyn Storage| -> Result<Vec<u8>, BackupError> {
            let sealed = match kind {
                BlobKind::Tree => storage.read_part_of_kept(name, offset, length)?,
                BlobKind::Data => storage.read_part(name, offset, length)?,
            };
            self.open_blob(&sealed, spot, id)
                .ok_or_else(|| self.damaged_blob(name.id, id))
        };
        match read(&*self.storage) {
            // What a cache has may be damaged as well.
            Err(BackupError::Damaged { .. }) if kind == BlobKind::Tree => read(&*self.origin),
            other => other,
        }
    }

    /// `None` when the bytes are not those of the blob.
    pub(crate) fn open_blob(&self, sealed: &[u8], spot: Spot, id: Id) -> Option<Vec<u8>> {
        let plain = self.cipher.open_blob(sealed, spot.raw)?;
        (id_of(&plain) == id).then_some(plain)
    }

    /// A blob in the bytes of its whole pack.
    pub(crate) fn open_in(&self, pack: &[u8], blob: &IndexBlob) -> Option<Vec<u8>> {
        let from = blob.offset as usize;
        let sealed = pack.get(from..from.saturating_add(blob.length as usize))?;
        let spot = Spot {
            pack: 0,
            offset: blob.offset,
            length: blob.length,
            raw: blob.uncompressed_length,
        };
        self.open_blob(sealed, spot, blob.id)
    }

    pub(crate) fn damaged_blob(&self, pack: Id, blob: Id) -> BackupError {
        self.suspect(Name::new(Kind::Pack, pack));
        let (pack, blob) = (pack.to_hex(), blob.to_hex());
        self.damaged(format!("pack {} (blob {})", pack.as_str(), blob.as_str()))
    }

    pub(crate) fn tree(&self, index: &Index, id: Id) -> Result<Tree, BackupError> {
        let plain = self.blob(index, BlobKind::Tree, id)?;
        serde_json::from_slice(&plain)
            .map_err(|_| self.damaged(format!("tree {}", id.to_hex().as_str())))
    }
}

/// As many threads as there are processors, and at least two: one waits for the disk while another computes.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |number| number.get().max(2))
}

pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, BackupError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| BackupError::Threads(std::io::Error::other(error)))
}

/// Bytes of a file that is named by its hash, if they are its bytes.
pub(crate) fn checked(name: Name, bytes: Bytes) -> Option<Bytes> {
    (id_of(&bytes) == name.id).then_some(bytes)
}

/// Turns a missing file into what it means for whoever asked.
pub(crate) fn missing<T>(
    result: Result<T, PlaceError>,
    meaning: impl FnOnce() -> BackupError,
) -> Result<T, BackupError> {
    result.map_err(|error| {
        if error.is_missing() {
            meaning()
        } else {
            error.into()
        }
    })
}

//! One layer as a blob of a repository, with as little work as possible.
//!
//! Tried in this order:
//! 1. a blob that is known to hold the layer, and that the repository has;
//! 2. the same taken over from a repository of the same registry;
//! 3. the file that a registry once gave us, sent as it is;
//! 4. the layer's stream compressed with gzip into staging, which gives the same bytes each time, and sent.
//!
//! What is found out is recorded: a second push asks and does not compress.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use registry::{Begun, RegistryError, Repository, types};
use store::LayerBlobRow;

use super::Push;
use crate::images::layers::{Layer, create_file};
use crate::images::pull::short;
use crate::images::{ImageError, Images};

/// Docker's number is five; more than two cores' worth of compression gains nothing.
const AT_ONCE: usize = 3;
const LEVEL: u32 = 6;
const STRIDE: u64 = 512 << 10;

/// What the manifest says of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) media_type: String,
}

/// A blob as a file.
struct Packed<'a> {
    path: PathBuf,
    /// Removed with its directory when dropped; kept files of layers have none.
    _staged: Option<Staged<'a>>,
}

struct Staged<'a> {
    images: &'a Images,
    op: store::OpId,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let path = self.images.paths.staging(&self.op);
        if let Err(error) = sys::dir::remove_tree(&path) {
            // The next start removes it.
            tracing::warn!(path = %path.display(), %error, "staging directory stays");
        }
    }
}

fn failed(action: &str) -> impl FnOnce(io::Error) -> ImageError {
    let action = action.to_owned();
    move |source| ImageError::Io { action, source }
}

impl Push<'_> {
    /// All layers, bottom first. The first failure ends the others.
    pub(super) fn layers(&self, layers: &[Layer]) -> Result<Vec<Blob>, ImageError> {
        for layer in layers.iter().rev() {
            self.progress.status(short(&layer.diff_id), "Preparing");
        }
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<Option<Blob>>> = Mutex::new(vec![None; layers.len()]);
        let failed: Mutex<Option<ImageError>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(layers.len()) {
                scope.spawn(|| {
                    loop {
                        let position = next.fetch_add(1, Ordering::Relaxed);
                        let Some(layer) = layers.get(position) else {
                            return;
                        };
                        if self.cancel.is_given_up() {
                            return;
                        }
                        match self.layer(layer) {
                            Ok(blob) => {
                                done.lock().unwrap_or_else(PoisonError::into_inner)[position] =
                                    Some(blob);
                            }
                            Err(error) => {
                                let mut failed =
                                    failed.lock().unwrap_or_else(PoisonError::into_inner);
                                let consequence =
                                    matches!(error, ImageError::Registry(RegistryError::Cancelled));
                                if failed.is_none() && !consequence {
                                    *failed = Some(error);
                                }
                                self.cancel.give_up();
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if self.cancel.is_given_up() {
            return Err(RegistryError::Cancelled.into());
        }
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(done
            .into_iter()
            .map(|blob| blob.expect("without a failure each one was done"))
            .collect())
    }

    fn layer(&self, layer: &Layer) -> Result<Blob, ImageError> {
        let id = short(&layer.diff_id);
        let (kept, mut rows) = self.images.store.read(|tx| {
            Ok::<_, ImageError>((
                tx.layer_kept_blob(layer.id)?,
                tx.layer_blobs(&layer.diff_id)?,
            ))
        })?;
        // The blob that we could send, then what this repository is known to have, then the rest.
        rows.sort_by_key(|row| {
            let ours = row.repository == self.name;
            (Some(&row.digest) != kept.as_ref(), !ours)
        });
        let mut asked: Vec<&str> = Vec::new();
        for row in &rows {
            if asked.contains(&row.digest.as_str()) {
                continue;
            }
            asked.push(&row.digest);
            if self.session.blob_size(&row.digest)?.is_some() {
                let blob = of(row);
                self.remember(layer, &blob)?;
                self.progress.status(id, "Layer already exists");
                return Ok(blob);
            }
            self.images.store.write(|tx| {
                Ok::<_, ImageError>(tx.forget_layer_blob(&layer.diff_id, self.name, &row.digest)?)
            })?;
        }
        if let Some(blob) = self.mounted(layer, &rows)? {
            return Ok(blob);
        }
        let (blob, packed) =
            match kept.and_then(|digest| rows.iter().find(|row| row.digest == digest)) {
                Some(row) => (
                    of(row),
                    Packed {
                        path: self.images.kept_blob(layer.id),
                        _staged: None,
                    },
                ),
                None => self.pack(layer)?,
            };
        self.send(id, &blob, &packed)?;
        self.remember(layer, &blob)?;
        Ok(blob)
    }

    fn mounted(&self, layer: &Layer, rows: &[LayerBlobRow]) -> Result<Option<Blob>, ImageError> {
        for row in rows.iter().filter(|row| !row.repository.is_empty()) {
            let other = Repository::parse(&row.repository);
            if other.host != self.repository.host || other.path == self.repository.path {
                continue;
            }
            // An upload that this may begin instead is left to the registry to forget.
            if let Ok(Begun::Mounted) = self.session.begin_upload(&row.digest, Some(&other.path)) {
                let blob = of(row);
                self.remember(layer, &blob)?;
                self.progress.status(
                    short(&layer.diff_id),
                    &format!("Mounted from {}", other.path),
                );
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Compresses a layer into staging.
    fn pack(&self, layer: &Layer) -> Result<(Blob, Packed<'_>), ImageError> {
        let op = store::OpId::random();
        let directory = self.images.paths.staging(&op);
        sys::durable::create_dir(&directory, 0o700).map_err(failed("cannot make a directory"))?;
        let staged = Staged {
            images: self.images,
            op,
        };
        let path = directory.join("blob");
        let file = create_file(&path).map_err(failed("cannot compress a layer"))?;
        let mut plain = self.images.layer_tar(layer.id)?;
        let pack = || -> io::Result<(String, u64)> {
            let digested = archive::DigestWriter::new(BufWriter::with_capacity(1 << 20, file));
            let mut gzip = archive::gzip_writer(digested, LEVEL);
            let mut buffer = vec![0; 256 << 10];
            loop {
                if self.cancel.is_given_up() {
                    return Err(io::Error::other("the push was given up"));
                }
                match plain.read(&mut buffer)? {
                    0 => break,
                    count => gzip.write_all(&buffer[..count])?,
                }
            }
            let mut digested = gzip.finish()?;
            digested.flush()?;
            let size = digested.length();
            Ok((digested.finish().0, size))
        };
        let (digest, size) = match pack() {
            Err(_) if self.cancel.is_given_up() => return Err(RegistryError::Cancelled.into()),
            result => result.map_err(failed("cannot compress a layer"))?,
        };
        let blob = Blob {
            digest,
            size,
            media_type: types::DOCKER_LAYER_GZIP.to_owned(),
        };
        self.record(layer, &blob, "")?;
        let packed = Packed {
            path,
            _staged: Some(staged),
        };
        Ok((blob, packed))
    }

    fn send(&self, id: &str, blob: &Blob, packed: &Packed<'_>) -> Result<(), ImageError> {
        if self.session.blob_size(&blob.digest)?.is_some() {
            self.progress.status(id, "Layer already exists");
            return Ok(());
        }
        if let Begun::Upload(place) = self.session.begin_upload(&blob.digest, None)? {
            std::thread::scope(|scope| {
                // The transport wants a reader of its own; what it has read is told over here.
                let (tell, told) = std::sync::mpsc::channel::<Option<u64>>();
                let (progress, size) = (self.progress, blob.size);
                scope.spawn(move || {
                    while let Ok(Some(done)) = told.recv() {
                        progress.step(id, "Pushing", done, size);
                    }
                });
                let uploaded = self
                    .session
                    .upload(&place, &blob.digest, blob.size, &mut || {
                        Ok(Box::new(Counted {
                            file: File::open(&packed.path)?,
                            done: 0,
                            told: 0,
                            tell: tell.clone(),
                        }))
                    });
                // An upload that was left alone may tell more, to nobody.
                tell.send(None).unwrap_or_default();
                uploaded
            })?;
        }
        self.progress.status(id, "Pushed");
        Ok(())
    }

    fn remember(&self, layer: &Layer, blob: &Blob) -> Result<(), ImageError> {
        self.record(layer, blob, self.name)
    }

    fn record(&self, layer: &Layer, blob: &Blob, repository: &str) -> Result<(), ImageError> {
        let row = LayerBlobRow {
            repository: repository.to_owned(),
            digest: blob.digest.clone(),
            size: blob.size,
            media_type: blob.media_type.clone(),
        };
        self.images
            .store
            .write(|tx| Ok(tx.set_layer_blob(&layer.diff_id, &row)?))
    }
}

fn of(row: &LayerBlobRow) -> Blob {
    Blob {
        digest: row.digest.clone(),
        size: row.size,
        media_type: row.media_type.clone(),
    }
}

/// Tells how much of a file was sent.
struct Counted {
    file: File,
    done: u64,
    told: u64,
    tell: std::sync::mpsc::Sender<Option<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.done += count as u64;
        if self.done - self.told >= STRIDE || (count == 0 && self.done > self.told) {
            self.told = self.done;
            // Progress that nobody hears is no failure.
            self.tell.send(Some(self.done)).unwrap_or_default();
        }
        Ok(count)
    }
}

//! Layers: unpacked once, shared by every image whose stack of layers begins alike.
//!
//! A layer is a directory `layers/<n>` with `fs` (the unpacked tree, as overlayfs wants it) and `tar.zst` (the layer's
//! tar stream, compressed: packing the tree again would not give the same bytes, and their digest names the layer). What
//! came from a registry is kept as it came instead, in `blob`.
//!
//! Adding one:
//! 1. row `unpacking` with a provisional chain id; its number names the directory
//! 2. the stream is unpacked, hashed and kept in one pass
//! 3. the filesystem is synced once, by the caller, for all layers of an image
//! 4. row `ready` with the real chain id: the commit point
//!
//! Rows that are not `ready` at the start of an engine are removed with their directories, and so are ready ones that no
//! image holds: layers are a cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use store::{LayerId, LayerRow, LayerState};

use super::config::chain_id;
use super::{ImageError, Images, Room};

/// Fast, and already half the size.
const ZSTD_LEVEL: i32 = 1;

/// A layer that exists on disk; `ready` unless it was made by this call.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) id: LayerId,
    pub(super) chain_id: String,
    pub(super) diff_id: String,
    pub(super) size: u64,
    /// Made now; [`Images::publish_layers`] makes it visible.
    fresh: bool,
    /// Of a fresh layer that came from a registry: the digest of the file `blob`.
    blob: Option<String>,
}

impl Layer {
    /// A layer that is published already.
    pub(super) fn known(row: LayerRow) -> Self {
        Self {
            id: row.id,
            chain_id: row.chain_id,
            diff_id: row.diff_id,
            size: row.size,
            fresh: false,
            blob: None,
        }
    }

    /// A layer that was just packed where a build made it.
    pub(super) fn made(id: LayerId, chain_id: String, diff_id: String, size: u64) -> Self {
        Self {
            id,
            chain_id,
            diff_id,
            size,
            fresh: true,
            blob: None,
        }
    }

    /// A layer that was just unpacked from a registry's blob.
    pub(super) fn received(
        id: LayerId,
        chain_id: String,
        diff_id: String,
        size: u64,
        blob: String,
    ) -> Self {
        Self {
            id,
            chain_id,
            diff_id,
            size,
            fresh: true,
            blob: Some(blob),
        }
    }
}

impl Images {
    /// The layer of this chain, when there is one.
    pub(super) fn known_layer(&self, chain: &str) -> Result<Option<Layer>, ImageError> {
        let row = self
            .store
            .read(|tx| Ok::<_, ImageError>(tx.layer_by_chain(chain)?))?;
        Ok(row
            .filter(|row| row.state == LayerState::Ready)
            .map(Layer::known))
    }

    /// Unpacks a tar stream (already decompressed) on top of `parent`. `expected` is the diff id that it must have.
    pub(super) fn add_layer(
        &self,
        parent: Option<&Layer>,
        tar: &mut (dyn Read + Send),
        expected: Option<&str>,
    ) -> Result<Layer, ImageError> {
        let id = self.begin_layer()?;
        let added = self
            .unpack_layer(id, tar)
            .and_then(|(diff_id, size)| match expected {
                Some(expected) if expected != diff_id => Err(ImageError::Invalid(format!(
                    "invalid diffID for layer: expected \"{expected}\", got \"{diff_id}\""
                ))),
                _ => Ok((diff_id, size)),
            });
        let (diff_id, size) = match added {
            Ok(added) => added,
            Err(error) => {
                self.drop_layer(id)?;
                return Err(error);
            }
        };
        sys::fault::step("layer:unpacked");
        Ok(Layer {
            id,
            chain_id: chain_id(parent.map(|parent| parent.chain_id.as_str()), &diff_id),
            diff_id,
            size,
            fresh: true,
            blob: None,
        })
    }

    /// Step 1: from here on recovery knows of the layer.
    pub(super) fn begin_layer(&self) -> Result<LayerId, ImageError> {
        let provisional = format!("unpacking-{}", store::OpId::random());
        let now = Timestamp::now().to_string();
        let id = self
            .store
            .write(|tx| Ok::<_, ImageError>(tx.insert_layer(&provisional, "", None, &now)?))?;
        sys::fault::step("layer:row");
        Ok(id)
    }

    /// The directories of a layer that was begun; the one that its files go to.
    pub(super) fn layer_directory(&self, id: LayerId) -> Result<OwnedFd, ImageError> {
        let failed = |action: &str| {
            let action = action.to_owned();
            move |source: io::Error| ImageError::Io { action, source }
        };
        let directory = self.paths.layer(id);
        let fs = self.paths.layer_fs(id);
        // Numbers begin anew when the database was lost; what is there belongs to no record, and layers are a cache.
        match sys::dir::remove_tree(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(failed("cannot clear a layer directory"))?,
        }
        for (path, mode) in [(&directory, 0o700), (&fs, 0o755)] {
            sys::durable::create_dir(path, mode)
                .map_err(failed("cannot make a layer directory"))?;
        }
        sys::dir::open(&fs).map_err(failed("cannot open a layer directory"))
    }

    fn unpack_layer(
        &self,
        id: LayerId,
        tar: &mut (dyn Read + Send),
    ) -> Result<(String, u64), ImageError> {
        let failed = |action: &str| {
            let action = action.to_owned();
            move |source: io::Error| ImageError::Io { action, source }
        };
        let root = self.layer_directory(id)?;
        let room = Room::on_disk(root.as_fd(), "the layer")?;
        let kept = create_file(&self.paths.layer(id).join("tar.zst"))
            .map_err(failed("cannot keep a layer"))?;
        let kept = archive::zstd_writer(kept, ZSTD_LEVEL).map_err(failed("cannot keep a layer"))?;
        let mut stream = archive::DigestReader::new(Keep {
            from: tar,
            to: kept,
        });
        let options = archive::UnpackOptions {
            whiteouts: archive::UnpackWhiteouts::ToOverlay,
            limits: room.limits(),
            ..archive::UnpackOptions::default()
        };
        let unpacked = archive::unpack(&mut stream, root.as_fd(), &options)
            .map_err(|error| room.refused("the layer", &error))?;
        // The digest covers what follows the archive's end, too.
        io::copy(&mut stream, &mut io::sink()).map_err(failed("cannot read a layer"))?;
        let (digest, Keep { to, .. }) = stream.finish();
        to.finish().map_err(failed("cannot keep a layer"))?;
        Ok((digest, unpacked.bytes))
    }

    /// Steps 3 and 4 for the layers of one image: durable first, then visible. A layer that somebody else published
    /// meanwhile is used instead of ours.
    pub(super) fn publish_layers(&self, layers: &mut [Layer]) -> Result<(), ImageError> {
        if layers.iter().any(|layer| layer.fresh) {
            let directory =
                sys::dir::open(&self.paths.layers()).map_err(|source| ImageError::Io {
                    action: "cannot open the layers directory".to_owned(),
                    source,
                })?;
            rustix::fs::syncfs(&directory).map_err(|source| ImageError::Io {
                action: "cannot make layers durable".to_owned(),
                source: source.into(),
            })?;
        }
        sys::fault::step("layer:synced");
        let mut below: Option<LayerId> = None;
        for layer in layers.iter_mut() {
            if layer.fresh {
                let known = self.store.write(|tx| {
                    if let Some(known) = tx.layer_by_chain(&layer.chain_id)? {
                        return Ok::<_, ImageError>(Some(known));
                    }
                    tx.publish_layer(layer.id, &layer.chain_id, &layer.diff_id, below, layer.size)?;
                    if let Some(blob) = &layer.blob {
                        tx.set_layer_kept_blob(layer.id, blob)?;
                    }
                    Ok(None)
                })?;
                if let Some(known) = known {
                    self.drop_layer(layer.id)?;
                    layer.id = known.id;
                }
                layer.fresh = false;
            }
            below = Some(layer.id);
        }
        Ok(())
    }

    /// Gives up layers that were made for an image that did not come to be.
    pub(super) fn abandon_layers(&self, layers: &[Layer]) -> Result<(), ImageError> {
        layers
            .iter()
            .rev()
            .filter(|layer| layer.fresh)
            .try_for_each(|layer| self.drop_layer(layer.id))
    }

    /// Removes a layer that no image holds: out of sight first, then its bytes, then its row. Idempotent.
    ///
    /// One that never was in sight needs no room to be recorded as such: it may be what fills the disk.
    pub(super) fn drop_layer(&self, id: LayerId) -> Result<(), ImageError> {
        let row = self.store.read(|tx| Ok::<_, ImageError>(tx.layer(id)?))?;
        if row.is_some_and(|row| row.state == LayerState::Ready) {
            self.store
                .write(|tx| Ok::<_, ImageError>(tx.set_layer_state(id, LayerState::Removing)?))?;
        }
        let directory = self.paths.layer(id);
        match sys::dir::remove_tree(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(ImageError::Io {
                    action: format!("cannot remove {}", directory.display()),
                    source,
                });
            }
        }
        self.store
            .write(|tx| Ok::<_, ImageError>(tx.delete_layer(id)?))
    }

    /// Undoes what an engine left unfinished.
    pub(super) fn recover_layers(&self) -> Result<Vec<String>, ImageError> {
        let rows = self.store.read(|tx| Ok::<_, ImageError>(tx.layers()?))?;
        let mut sentences = Vec::new();
        for row in rows
            .iter()
            .rev()
            .filter(|row| row.state != LayerState::Ready)
        {
            self.drop_layer(row.id)?;
            sentences.push(format!("unfinished image layer {} was removed", row.id));
        }
        let freed = self.sweep_layers()?;
        if freed > 0 {
            sentences.push(format!(
                "image layers that no image holds were removed ({freed} bytes)"
            ));
        }
        Ok(sentences)
    }

    /// The layer's tar stream, bit by bit as it came.
    pub(super) fn layer_tar(&self, id: LayerId) -> Result<Box<dyn Read + Send>, ImageError> {
        let mut path = self.paths.layer(id).join("tar.zst");
        if !path.exists() {
            path = self.kept_blob(id);
        }
        let failed = |source| ImageError::Io {
            action: format!("cannot read {}", path.display()),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        archive::decompress(file).map_err(|error| failed(io::Error::other(error)))
    }

    /// Where the stream of a layer that came from a registry is kept.
    pub(super) fn kept_blob(&self, id: LayerId) -> PathBuf {
        self.paths.layer(id).join("blob")
    }

    /// Relative to the layers directory, as overlay mounts want it.
    pub(super) fn lower(&self, id: LayerId) -> PathBuf {
        self.paths.layer_relative(id)
    }
}

/// Copies what is read.
struct Keep<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Keep<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

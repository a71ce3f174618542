//! One layer, from the registry to its directory in one go: nothing waits for the download to be complete.
//!
//! Four threads, each with its part of the work: download (digest of the compressed bytes, written to a file of
//! [`downloads`](crate::images)), decompress (reads that file as it grows), digest (of the tar stream, the diff id), unpack.
//!
//! Steps:
//! 1. row and directories of an unpacking layer, as for any other
//! 2. all four at once; what an earlier pull had downloaded is read, not fetched
//! 3. the registry's digest, its size and the diff id are right: the file becomes the layer's `blob`, the layer may be
//!    published. Otherwise it is removed, and what came is kept if it only broke off
//!
//! What an earlier pull left and does not fit is thrown away, and the layer is fetched once more from its beginning.
//!
//! What is unpacked before 3 may be hostile. It is contained as any archive is, bounded, and no container can see it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use archive::{UnpackError, UnpackOptions, UnpackWhiteouts};
use registry::{Cancel, RegistryError, Session};
use sha2::{Digest as _, Sha256};
use store::LayerId;

use super::layers::Missing;
use super::short;
use super::spool::{End, Spool};
use crate::images::downloads::Kept;
use crate::images::layers::Layer;
use crate::images::room::{MOST_BEYOND, Room};
use crate::images::{ImageError, Images};
use crate::progress::Progress;

/// Bytes that pass from one thread to the next at a time, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 16;
/// Between two tellings of progress.
const STRIDE: u64 = 512 << 10;

type Piece = Arc<Vec<u8>>;

/// Downloads and unpacks a layer, which is neither synced nor published yet.
pub(super) fn receive(
    images: &Images,
    session: &Session<'_>,
    cancel: &Cancel,
    progress: &dyn Progress,
    missing: &Missing<'_>,
) -> Result<Layer, ImageError> {
    let descriptor = missing.descriptor;
    loop {
        let kept = images.kept_download(&descriptor.digest, descriptor.size)?;
        let id = images.begin_layer()?;
        let receiving = Receiving {
            images,
            session,
            cancel: cancel.child(),
            progress,
            missing,
            kept: kept.as_ref(),
            id: short(&descriptor.digest),
        };
        let error = match receiving.run(id, cancel) {
            Ok(size) => {
                sys::fault::step("pull:layer");
                progress.status(receiving.id, "Pull complete");
                return Ok(Layer::received(
                    id,
                    missing.chain_id.to_owned(),
                    missing.diff_id.to_owned(),
                    size,
                    descriptor.digest.clone(),
                ));
            }
            Err(error) => error,
        };
        let again = kept.is_some_and(|kept| {
            if broke_off(&error) {
                kept.leave();
                return false;
            }
            let was_left = kept.known() > 0;
            kept.discard();
            was_left && !is_local(&error)
        });
        images.drop_layer(id)?;
        if !again {
            return Err(error);
        }
        tracing::info!(digest = descriptor.digest, %error, "what an earlier pull left is not right");
    }
}

/// What came may be right, and the rest may come another time.
fn broke_off(error: &ImageError) -> bool {
    match error {
        ImageError::Registry(error) => !matches!(
            error,
            RegistryError::Mismatch { .. }
                | RegistryError::Local { .. }
                | RegistryError::TooLarge { .. }
        ),
        _ => false,
    }
}

/// Another download would end alike.
fn is_local(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::Io { .. }
            | ImageError::Store(_)
            | ImageError::Registry(RegistryError::Local { .. })
    )
}

struct Receiving<'a> {
    images: &'a Images,
    session: &'a Session<'a>,
    /// Ends this download alone.
    cancel: Arc<Cancel>,
    progress: &'a dyn Progress,
    missing: &'a Missing<'a>,
    /// Where the download goes, unless somebody else fetches the same blob.
    kept: Option<&'a Kept<'a>>,
    /// As people see it.
    id: &'a str,
}

impl Receiving<'_> {
    /// The bytes of the layer's files.
    fn run(&self, id: LayerId, others: &Cancel) -> Result<u64, ImageError> {
        let failed = |action: &str| {
            let action = action.to_owned();
            move |source: io::Error| ImageError::Io { action, source }
        };
        let what = format!("layer {}", self.id);
        let size = self.missing.descriptor.size;
        let root = self.images.layer_directory(id)?;
        let room = Room::for_layer(root.as_fd(), size, &what)?;
        let file = match self.kept {
            Some(kept) => kept.file(),
            None => File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(self.images.kept_blob(id)),
        }
        .map_err(failed("cannot keep a layer"))?;
        let spool = Spool::new(file, self.known());
        let (to_unpack, unpacked_from) = sync_channel::<io::Result<Piece>>(WAITING);
        let (to_digest, digested_from) = sync_channel::<Piece>(WAITING);
        let (downloaded, diff_id, unpacked, by_others) = std::thread::scope(|scope| {
            let (spool, receiving) = (&spool, self);
            let downloading = scope.spawn(move || receiving.download(spool));
            let decompressing =
                scope.spawn(move || decompress(spool, receiving, room, &to_unpack, &to_digest));
            let digesting = scope.spawn(move || digest_of(&digested_from));
            let mut pieces = Pieces {
                from: unpacked_from,
                current: Arc::default(),
                at: 0,
            };
            let unpacked = sys::writeback::during(root.as_fd(), |tell| {
                let progress = |done: archive::Unpacked| tell(done.entries + (done.bytes >> 16));
                let options = UnpackOptions {
                    whiteouts: UnpackWhiteouts::ToOverlay,
                    limits: room.limits(),
                    progress: Some(&progress),
                    ..UnpackOptions::default()
                };
                let unpacked = archive::unpack(&mut pieces, root.as_fd(), &options)?;
                // The digest covers what follows the archive's end, too.
                io::copy(&mut pieces, &mut io::sink())
                    .map_err(|source| UnpackError::Archive(archive::ReadError::Io { source }))?;
                Ok(unpacked)
            });
            let by_others = others.is_given_up();
            if !matches!(unpacked, Ok(Ok(_))) {
                // A layer that cannot be unpacked need not be downloaded to its end.
                self.cancel.give_up();
            }
            // Whoever still has something to pass on notices that nobody takes it.
            drop(pieces);
            decompressing.join().expect("decompressing does not panic");
            (
                downloading.join().expect("downloading does not panic"),
                digesting.join().expect("digesting does not panic"),
                unpacked,
                by_others,
            )
        });
        match downloaded {
            // Ended because the layer could not be unpacked, which is told below.
            Err(RegistryError::Cancelled) if !by_others => {}
            result => result?,
        }
        let unpacked = unpacked
            .map_err(failed("cannot make a layer durable"))?
            .map_err(|error| room.refused(&what, &error))?;
        if diff_id != self.missing.diff_id {
            return Err(ImageError::Invalid(format!(
                "invalid diffID for layer {}: expected \"{}\", got \"{diff_id}\"",
                self.id, self.missing.diff_id
            )));
        }
        if let Some(kept) = self.kept {
            kept.become_blob(&self.images.kept_blob(id))
                .map_err(failed("cannot keep a layer"))?;
            sys::fault::step("pull:blob");
        }
        Ok(unpacked.bytes)
    }

    /// Bytes of the download that need not be fetched.
    fn known(&self) -> u64 {
        self.kept.map_or(0, Kept::known)
    }

    fn download(&self, spool: &Spool) -> Result<(), RegistryError> {
        let descriptor = self.missing.descriptor;
        let (mut done, mut told) = (self.known(), 0);
        let sink = &mut |part: &[u8]| {
            spool.append(part)?;
            sys::fault::step("pull:download");
            done += part.len() as u64;
            if done - told >= STRIDE || done == descriptor.size {
                told = done;
                self.progress
                    .step(self.id, "Downloading", done, descriptor.size);
            }
            Ok(())
        };
        let result = self.known_bytes().and_then(|mut known| {
            self.session.download(
                &descriptor.digest,
                descriptor.size,
                &self.cancel,
                &mut known,
                sink,
            )
        });
        if result.is_ok() {
            self.progress.status(self.id, "Verifying Checksum");
            self.progress.status(self.id, "Download complete");
        }
        spool.end(if result.is_ok() {
            End::Complete
        } else {
            End::Broken
        });
        result
    }

    fn known_bytes(&self) -> Result<Box<dyn Read>, RegistryError> {
        let Some(kept) = self.kept else {
            return Ok(Box::new(io::empty()));
        };
        let file = kept
            .file()
            .map_err(|source| RegistryError::Local { source })?;
        Ok(Box::new(file.take(kept.known())))
    }
}

/// Passes the plain stream on, piece by piece, to whoever unpacks and whoever digests it.
fn decompress(
    spool: &Spool,
    receiving: &Receiving<'_>,
    room: Room,
    to_unpack: &SyncSender<io::Result<Piece>>,
    to_digest: &SyncSender<Piece>,
) {
    let position = AtomicU64::new(0);
    let reader = Positioned {
        reader: spool.reader(),
        position: &position,
    };
    let mut plain = match archive::decompress(reader) {
        Ok(plain) => plain,
        Err(error) => {
            // Nobody listens when unpacking has ended already.
            drop(to_unpack.send(Err(io::Error::other(error.to_string()))));
            return;
        }
    };
    // Headers and padding come on top of the contents; a stream of nothing but those must end, too.
    let most = room.bytes.saturating_mul(2).saturating_add(MOST_BEYOND);
    let (mut passed, mut told) = (0, 0);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut plain).take(PIECE as u64).read_to_end(&mut piece);
        let ended = piece.is_empty();
        passed += piece.len() as u64;
        let message = match read {
            Err(error) => Err(error),
            Ok(_) if passed > most => Err(io::Error::other(format!(
                "the stream is longer than {most} bytes"
            ))),
            Ok(_) => Ok(Arc::new(piece)),
        };
        let failed = message.is_err();
        if let Ok(piece) = &message
            && to_digest.send(Arc::clone(piece)).is_err()
        {
            return;
        }
        if to_unpack.send(message).is_err() || failed || ended {
            return;
        }
        let at = position.load(Ordering::Relaxed);
        if spool.is_complete() && at - told >= STRIDE {
            told = at;
            let size = receiving.missing.descriptor.size;
            receiving
                .progress
                .step(receiving.id, "Extracting", at, size);
        }
    }
}

/// Tells how far the compressed stream was read.
struct Positioned<'a> {
    reader: super::spool::Reader<'a>,
    position: &'a AtomicU64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position
            .store(self.reader.position(), Ordering::Relaxed);
        Ok(count)
    }
}

fn digest_of(pieces: &Receiver<Piece>) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    while let Ok(piece) = pieces.recv() {
        hash.update(piece.as_slice());
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}

/// The plain stream as a reader. An empty piece is its end.
struct Pieces {
    from: Receiver<io::Result<Piece>>,
    current: Piece,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            self.at = 0;
            self.current = match self.from.recv() {
                Ok(piece) => piece?,
                Err(_) => Arc::default(),
            };
        }
        let left = &self.current[self.at..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}

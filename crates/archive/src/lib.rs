//! Tar streams to and from directory trees, by directory descriptors only.
//!
//! The input of [`unpack`] is hostile: nothing it says reaches a file outside the target directory, allocates more than
//! is really in the stream, or is trusted to be true. The output of [`pack`] is what GNU tar, bsdtar and Docker read, and
//! the same tree gives the same bytes. This crate alone knows archive and compression formats.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod acl;
mod annotation;
mod changes;
mod compression;
mod digest;
mod extended;
mod file_writer;
mod header;
mod index;
mod pack;
mod pax;
mod reader;
mod restore;
mod sparse;
mod unpack;
mod writer;

pub use annotation::{Annotations, annotations};
pub use changes::{Change, ChangeError, ChangeKind, changes};
pub use compression::{
    Compressed, CompressionError, Compressor, GzipWriter, ZstdWriter, decompress, gzip_writer,
    zstd_writer,
};
pub use digest::{DigestReader, DigestWriter};
pub use file_writer::FileWriter;
pub use index::{IndexError, Indexed, IndexedKind, Stored, index, is_tar};
pub use pack::{Choice, Choose, PackError, PackOptions, PackWhiteouts, Packed, pack};
pub use reader::ReadError;
pub use unpack::{
    Devices, Limits, Owner, Rename, UnpackError, UnpackOptions, UnpackWhiteouts, Unpacked, unpack,
};

/// How image layers mark a deleted name, and a directory that hides what is below it.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// What begins with this and is not the opaque mark is AUFS's own bookkeeping.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
/// How overlay mounts mark the latter.
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";
const OVERLAY_ATTRIBUTES: &[u8] = b"trusted.overlay.";

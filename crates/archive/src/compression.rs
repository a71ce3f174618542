//! Compressed streams: recognised by their first bytes when read; gzip, xz or zstd when written.
//!
//! Decoders keep no more of a stream in memory than the window that its format needs, [`MOST_WINDOW`] at most. How much
//! comes out is for the reader to bound.

use std::io::{self, BufReader, Read, Write};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

const BUFFER: usize = 128 * 1024;
/// zstd's own bound for those who do not ask for more, and twice what `xz -9` needs.
const MOST_WINDOW: u32 = 128 << 20;
/// What the xz decoder has beside its window.
const XZ_OVERHEAD: u32 = 1 << 20;

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    #[error("unsupported compression: {name}")]
    Unsupported { name: &'static str },
    #[error("cannot read the stream")]
    Read { source: io::Error },
}

/// The plain bytes of `reader`, which may be compressed with gzip, bzip2, xz or zstd, in several members too.
///
/// Reads the first bytes at once.
///
/// # Errors
/// For streams in formats that are recognised but not supported: lz4, compress, lzip.
pub fn decompress<'a>(
    mut reader: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, CompressionError> {
    let mut magic = Vec::with_capacity(10);
    (&mut reader)
        .take(10)
        .read_to_end(&mut magic)
        .map_err(|source| CompressionError::Read { source })?;
    let format = Format::of(&magic);
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(magic).chain(reader));
    match format {
        Format::Plain => Ok(Box::new(whole)),
        Format::Gzip => Ok(Box::new(MultiGzDecoder::new(whole))),
        Format::Bzip2 => Ok(Box::new(MultiBzDecoder::new(whole))),
        Format::Xz => Ok(Box::new(XzReader::new_mem_limit(
            whole,
            true,
            (MOST_WINDOW + XZ_OVERHEAD) >> 10,
        ))),
        Format::Zstd => zstd::stream::read::Decoder::with_buffer(whole)
            .map(|decoder| Box::new(decoder) as Box<dyn Read + Send + 'a>)
            .map_err(|source| CompressionError::Read { source }),
        Format::Other(name) => Err(CompressionError::Unsupported { name }),
    }
}

enum Format {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Other(&'static str),
}

impl Format {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a frame of user data before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A block follows, or the end of an empty stream.
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
            ]
            | [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x17,
                0x72,
                0x45,
                0x38,
                0x50,
                0x90,
            ] => Self::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Other("lz4"),
            [0x1f, 0x9d, ..] => Self::Other("compress"),
            [b'L', b'Z', b'I', b'P', 1, ..] => Self::Other("lzip"),
            _ => Self::Plain,
        }
    }
}

/// Compresses with gzip; the same bytes give the same stream.
#[derive(Debug)]
pub struct GzipWriter<W: Write>(flate2::write::GzEncoder<W>);

/// `level` is 0 (fastest) to 9 (smallest).
pub fn gzip_writer<W: Write>(writer: W, level: u32) -> GzipWriter<W> {
    GzipWriter(flate2::write::GzEncoder::new(
        writer,
        flate2::Compression::new(level.min(9)),
    ))
}

impl<W: Write> GzipWriter<W> {
    /// Writes the end of the stream; without it the stream is cut.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Compresses with zstd, with a checksum.
pub struct ZstdWriter<W: Write>(zstd::stream::write::Encoder<'static, W>);

impl<W: Write> std::fmt::Debug for ZstdWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdWriter").finish_non_exhaustive()
    }
}

/// `level` is 1 (fastest) to 22 (smallest); 0 is the library's default.
///
/// # Errors
/// When the compressor cannot be set up.
pub fn zstd_writer<W: Write>(writer: W, level: i32) -> io::Result<ZstdWriter<W>> {
    let mut encoder = zstd::stream::write::Encoder::new(writer, level)?;
    encoder.include_checksum(true)?;
    Ok(ZstdWriter(encoder))
}

impl<W: Write> ZstdWriter<W> {
    /// Writes the end of the stream; without it the stream is cut.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How a stream is to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compressed {
    #[default]
    Not,
    Gzip,
    Xz,
    Zstd,
}

impl Compressed {
    /// The names that people write, for sentences.
    pub const NAMES: &str = "none, gzip, xz or zstd";

    /// `None` for a name that is not among [`Self::NAMES`].
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::Not,
            "gzip" => Self::Gzip,
            "xz" => Self::Xz,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// What is written to the result comes out of `writer` compressed, at the level that each format's own program takes.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn writer<W: Write>(self, writer: W) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::Not => Compressor::Not(writer),
            Self::Gzip => Compressor::Gzip(gzip_writer(writer, 6)),
            Self::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(6);
                Compressor::Xz(Box::new(lzma_rust2::XzWriter::new(writer, options)?))
            }
            Self::Zstd => Compressor::Zstd(zstd_writer(writer, 0)?),
        })
    }
}

/// A stream that is compressed in one of the ways of [`Compressed`].
pub enum Compressor<W: Write> {
    Not(W),
    Gzip(GzipWriter<W>),
    Xz(Box<lzma_rust2::XzWriter<W>>),
    Zstd(ZstdWriter<W>),
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl<W: Write> Compressor<W> {
    /// Writes the end of the stream; without it the stream is cut.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Not(writer) => Ok(writer),
            Self::Gzip(writer) => writer.finish(),
            Self::Xz(writer) => writer.finish(),
            Self::Zstd(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Not(writer) => writer.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
            Self::Xz(writer) => writer.write(bytes),
            Self::Zstd(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Not(writer) => writer.flush(),
            // A block would end at each flush; the end of the stream is enough.
            Self::Gzip(_) | Self::Xz(_) | Self::Zstd(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8]) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        decompress(stream)
            .map_err(|error| error.to_string())?
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
        Ok(plain)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = gzip_writer(Vec::new(), 6);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut writer = Compressed::Xz.writer(Vec::new()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut writer = zstd_writer(Vec::new(), 3).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    type Compress = fn(&[u8]) -> Vec<u8>;
    const WRITERS: [Compress; 4] = [gzip, bzip2, xz, zstd];

    #[test]
    fn streams_are_recognised() {
        for plain in [&b""[..], b"x", b"BZh", &[0; 1000]] {
            assert_eq!(read(plain).unwrap(), plain);
        }
        for write in WRITERS {
            for plain in [&b""[..], b"x", &[0; 1000]] {
                assert_eq!(read(&write(plain)).unwrap(), plain);
            }
            let members = [write(b"one "), write(b"two")].concat();
            assert_eq!(read(&members).unwrap(), b"one two");
        }
        for (magic, name) in [
            (&b"\x04\x22\x4d\x18......"[..], "lz4"),
            (b"\x1f\x9d\x90.......", "compress"),
            (b"LZIP\x01.....", "lzip"),
        ] {
            assert_eq!(
                read(magic).unwrap_err(),
                format!("unsupported compression: {name}")
            );
        }
    }

    #[test]
    fn cut_and_changed_streams_are_errors() {
        let plain: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
        for write in WRITERS {
            let stream = write(&plain);
            for length in [14, stream.len() / 2, stream.len() - 1] {
                assert!(read(&stream[..length]).is_err(), "{length} bytes");
            }
            let mut changed = stream.clone();
            changed[stream.len() / 2] ^= 1;
            assert!(read(&changed).is_err());
        }
    }

    #[test]
    fn windows_have_a_bound() {
        let mut stream = xz(b"x");
        // Block header: size, flags, filter LZMA2, one byte of properties, padding, checksum.
        assert_eq!(stream[14..16], [0x21, 1]);
        for (window, fits) in [(30, true), (31, false), (40, false)] {
            stream[16] = window;
            let checksum = crc32(&stream[12..20]);
            stream[20..24].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(read(&stream).is_ok(), fits, "window {window}");
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}

//! Compressed streams: recognised by their first bytes when read, gzip or zstd when written.

use std::io::{self, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;

const BUFFER: usize = 128 * 1024;

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    #[error("unsupported compression: {name}")]
    Unsupported { name: &'static str },
    #[error("cannot read the stream")]
    Read { source: io::Error },
}

/// The plain bytes of `reader`, which may be compressed with gzip or zstd, in several members too.
///
/// Reads the first bytes at once.
///
/// # Errors
/// For streams in formats that are recognised but not supported: bzip2, xz, lz4, compress, lzip.
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
        Format::Zstd => zstd::stream::read::Decoder::with_buffer(whole)
            .map(|decoder| Box::new(decoder) as Box<dyn Read + Send + 'a>)
            .map_err(|source| CompressionError::Read { source }),
        Format::Other(name) => Err(CompressionError::Unsupported { name }),
    }
}

enum Format {
    Plain,
    Gzip,
    Zstd,
    Other(&'static str),
}

impl Format {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a frame of user data before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other("xz"),
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
            ] => Self::Other("bzip2"),
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

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut writer = zstd_writer(Vec::new(), 3).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn streams_are_recognised() {
        for plain in [&b""[..], b"x", b"BZh", &[0; 1000]] {
            assert_eq!(read(plain).unwrap(), plain);
            assert_eq!(read(&gzip(plain)).unwrap(), plain);
            assert_eq!(read(&zstd(plain)).unwrap(), plain);
        }
        assert_eq!(
            read(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(),
            b"one two"
        );
        assert_eq!(
            read(&[zstd(b"one "), zstd(b"two")].concat()).unwrap(),
            b"one two"
        );
        for (magic, name) in [
            (&b"\xfd7zXZ\0...."[..], "xz"),
            (b"BZh91AY&SY", "bzip2"),
            (b"\x04\x22\x4d\x18......", "lz4"),
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
    fn cut_streams_are_errors() {
        for stream in [gzip(&[7; 5000]), zstd(&[7; 5000])] {
            for length in [11, stream.len() - 1] {
                assert!(read(&stream[..length]).is_err(), "{length} bytes");
            }
        }
    }
}

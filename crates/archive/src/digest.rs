//! SHA-256 of what passes through, as `sha256:<hex>`.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

/// Passes reads on and digests what was read.
#[derive(Debug)]
pub struct DigestReader<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> DigestReader<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// How many bytes were read.
    pub fn length(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was read, which need not be all there is.
    pub fn finish(self) -> (String, R) {
        (name(self.hash), self.inner)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

/// Passes writes on and digests what was written.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> DigestWriter<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// How many bytes were written.
    pub fn length(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was written.
    pub fn finish(self) -> (String, W) {
        (name(self.hash), self.inner)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hash.update(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn name(hash: Sha256) -> String {
    let mut name = String::from("sha256:");
    for byte in hash.finalize() {
        write!(name, "{byte:02x}").expect("a string takes everything");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_digest_the_same() {
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut reader = DigestReader::new(&b"abc"[..]);
        let mut writer = DigestWriter::new(Vec::new());
        assert_eq!(io::copy(&mut reader, &mut writer).unwrap(), 3);
        assert_eq!((reader.length(), writer.length()), (3, 3));
        assert_eq!(reader.finish().0, expected);
        assert_eq!(writer.finish(), (expected.to_owned(), b"abc".to_vec()));
    }
}

//! Bodies of answers: of known length, chunked, or until the connection closes.

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::net::UnixStream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

/// Reads one body.
#[derive(Debug)]
pub(crate) struct BodyReader {
    reader: BufReader<UnixStream>,
    length: Length,
    /// Bytes left of the body, or of the present chunk.
    left: u64,
    /// The last chunk was read.
    done: bool,
}

impl BodyReader {
    pub(super) fn new(reader: BufReader<UnixStream>, length: Length) -> Self {
        let left = match length {
            Length::Known(length) => length,
            Length::Chunked | Length::UntilClose => 0,
        };
        Self {
            reader,
            length,
            left,
            done: false,
        }
    }

    pub(super) fn into_raw(self) -> BufReader<UnixStream> {
        self.reader
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.trim().split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(digits, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk length"))?;
        if self.left == 0 {
            self.done = true;
        }
        Ok(())
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.length == Length::UntilClose {
            return self.reader.read(buffer);
        }
        if self.length == Length::Chunked && self.left == 0 && !self.done {
            self.next_chunk()?;
        }
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if self.length == Length::Chunked && self.left == 0 {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: &[u8], length: Length) -> io::Result<String> {
        let (mut engine, client) = UnixStream::pair().unwrap();
        engine.write_all(bytes).unwrap();
        drop(engine);
        let mut text = String::new();
        BodyReader::new(BufReader::new(client), length).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn the_three_kinds() {
        assert_eq!(read(b"hello rest", Length::Known(5)).unwrap(), "hello");
        assert_eq!(
            read(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", Length::Chunked).unwrap(),
            "abcde"
        );
        assert_eq!(read(b"all", Length::UntilClose).unwrap(), "all");
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        assert!(read(b"he", Length::Known(5)).is_err());
        assert!(read(b"5\r\nab", Length::Chunked).is_err());
        assert!(read(b"zz\r\n", Length::Chunked).is_err());
    }
}

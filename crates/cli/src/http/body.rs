//! Bodies of answers: of known length, chunked, or until the connection closes.

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::Shared;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

/// Reads one body; at its end the connection goes back to whom it may serve again.
#[derive(Debug)]
pub(crate) struct BodyReader {
    /// `None` when the body was read to its end.
    reader: Option<BufReader<UnixStream>>,
    length: Length,
    /// Bytes left of the body, or of the present chunk.
    left: u64,
    home: Option<Arc<Shared>>,
}

impl BodyReader {
    pub(super) fn new(
        reader: BufReader<UnixStream>,
        length: Length,
        home: Option<Arc<Shared>>,
    ) -> Self {
        let left = match length {
            Length::Known(length) => length,
            Length::Chunked | Length::UntilClose => 0,
        };
        let mut body = Self {
            reader: Some(reader),
            length,
            left,
            home,
        };
        if length == Length::Known(0) && body.home.is_some() {
            body.finish();
        }
        body
    }

    /// The connection of an upgrade.
    pub(super) fn into_raw(self) -> io::Result<BufReader<UnixStream>> {
        self.reader.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the engine did not upgrade the connection",
            )
        })
    }

    fn finish(&mut self) {
        if let (Some(reader), Some(home)) = (self.reader.take(), self.home.take()) {
            home.keep(reader);
        }
    }
}

fn line(reader: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(4096).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else {
            return Ok(0);
        };
        if self.length == Length::UntilClose {
            return reader.read(buffer);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.length == Length::Chunked && self.left == 0 {
            let line = line(reader)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            self.left = u64::from_str_radix(digits, 16)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk length"))?;
            if self.left == 0 {
                while !self::line(reader)?.trim().is_empty() {}
            }
        }
        if self.left == 0 {
            self.finish();
            return Ok(0);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if self.left == 0 {
            match self.length {
                Length::Chunked => {
                    let mut end = [0; 2];
                    reader.read_exact(&mut end)?;
                }
                _ => self.finish(),
            }
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
        BodyReader::new(BufReader::new(client), length, None).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn the_three_kinds() {
        assert_eq!(read(b"hello rest", Length::Known(5)).unwrap(), "hello");
        assert_eq!(
            read(
                b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
                Length::Chunked
            )
            .unwrap(),
            "abcde"
        );
        assert_eq!(read(b"all", Length::UntilClose).unwrap(), "all");
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        assert!(read(b"he", Length::Known(5)).is_err());
        assert!(read(b"5\r\nab", Length::Chunked).is_err());
        assert!(read(b"2\r\nab\r\n", Length::Chunked).is_err());
        assert!(read(b"zz\r\n", Length::Chunked).is_err());
    }
}

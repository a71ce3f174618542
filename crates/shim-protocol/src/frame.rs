//! Length-prefixed JSON messages on a stream socket.
//!
//! A frame is the length of its body as four bytes, little endian, then the body: one JSON value. Bodies above
//! [`LIMIT`] are refused on both sides, so that a broken peer cannot make the other allocate without bound. Nothing is
//! read beyond a frame's last byte by [`receive`]: what follows (streams of an attach connection) stays in the socket.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest body in bytes.
pub const LIMIT: usize = 16 * 1024 * 1024;

/// Bytes before the body.
pub const HEADER: usize = 4;

/// Why a frame could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("message of {0} bytes is over the limit of {LIMIT}")]
    TooLong(usize),
    #[error("connection closed before a message")]
    Closed,
    #[error("connection closed within a message")]
    Truncated,
    #[error("message could not be encoded")]
    Encode(#[source] serde_json::Error),
    #[error("message could not be understood")]
    Decode(#[source] serde_json::Error),
    #[error("connection failed")]
    Io(#[source] io::Error),
}

/// The whole frame for `message`, in one buffer.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Encode)?;
    let body = bytes.len() - HEADER;
    match u32::try_from(body) {
        Ok(length) if body <= LIMIT => bytes[..HEADER].copy_from_slice(&length.to_le_bytes()),
        _ => return Err(FrameError::TooLong(body)),
    }
    Ok(bytes)
}

/// Reads one message from the front of `bytes`.
///
/// Returns the message and how many bytes it took; `None` when more bytes are needed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = body_length(*header)?;
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let message = serde_json::from_slice(body).map_err(FrameError::Decode)?;
    Ok(Some((message, HEADER + length)))
}

/// Writes one message with a single `write_all`, so that descriptors given to the first write travel with it.
pub fn send<T: Serialize + ?Sized>(writer: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let bytes = encode(message)?;
    writer.write_all(&bytes).map_err(FrameError::Io)?;
    writer.flush().map_err(FrameError::Io)
}

/// Blocks for one message. [`FrameError::Closed`] tells that the peer left between messages.
pub fn receive<T: DeserializeOwned>(reader: &mut impl Read) -> Result<T, FrameError> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match reader.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(FrameError::Truncated),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
    let mut body = vec![0; body_length(header)?];
    reader
        .read_exact(&mut body)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Truncated,
            _ => FrameError::Io(error),
        })?;
    serde_json::from_slice(&body).map_err(FrameError::Decode)
}

fn body_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Request;

    /// Gives one byte at a time, as a socket may.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn bytes_of_a_frame() {
        let bytes = encode(&Request::Watch).unwrap();
        assert_eq!(bytes, b"\x13\0\0\0{\"request\":\"watch\"}");
    }

    #[test]
    fn every_prefix_wants_more_and_the_whole_is_read() {
        let mut bytes = encode(&Request::Resize {
            rows: 24,
            columns: 80,
        })
        .unwrap();
        let length = bytes.len();
        bytes.extend_from_slice(b"stdin follows");
        for end in 0..length {
            assert!(decode::<Request>(&bytes[..end]).unwrap().is_none());
        }
        let (request, used) = decode::<Request>(&bytes).unwrap().unwrap();
        assert_eq!(
            request,
            Request::Resize {
                rows: 24,
                columns: 80
            }
        );
        assert_eq!(&bytes[used..], b"stdin follows");

        let mut reader = Dripping(&bytes);
        assert_eq!(receive::<Request>(&mut reader).unwrap(), request);
        assert_eq!(reader.0, b"stdin follows");
    }

    #[test]
    fn broken_peers_are_told_apart() {
        let bytes = encode(&Request::Pause { unwell: false }).unwrap();
        let cases: [(&[u8], &str); 5] = [
            (b"", "connection closed before a message"),
            (b"\x01\0", "connection closed within a message"),
            (
                &bytes[..bytes.len() - 1],
                "connection closed within a message",
            ),
            (
                b"\xff\xff\xff\xff",
                "message of 4294967295 bytes is over the limit of 16777216",
            ),
            (b"\x02\0\0\0{}", "message could not be understood"),
        ];
        for (input, text) in cases {
            let error = receive::<Request>(&mut Dripping(input)).unwrap_err();
            assert_eq!(error.to_string(), text, "{input:?}");
        }
    }

    #[test]
    fn too_long_a_message_is_not_sent() {
        let text = "x".repeat(LIMIT);
        assert!(matches!(encode(&text), Err(FrameError::TooLong(_))));
    }
}

//! What an archive says of itself before its first member: records of a PAX global header.
//!
//! GNU tar, bsdtar and Docker take such a header for defaults of the members that follow, and pass over keys that they do
//! not know without a word: what is unpacked are the members, nothing else.

use std::io::{self, Cursor, Read};

use crate::header::{BLOCK, Header};
use crate::pax;

/// More than this is nobody's annotation.
const MOST: u64 = 1 << 20;

/// Records of a global header, in order.
pub type Annotations = Vec<(Vec<u8>, Vec<u8>)>;

/// The records with which a plain tar stream begins, and the stream as it was before they were read.
///
/// A stream that begins with anything else, or with records that cannot be read, has none.
///
/// # Errors
/// Those of the stream.
pub fn annotations<R: Read>(mut stream: R) -> io::Result<(Annotations, impl Read)> {
    let mut seen = Vec::with_capacity(BLOCK);
    (&mut stream).take(BLOCK as u64).read_to_end(&mut seen)?;
    let mut records = Annotations::new();
    if let Ok(block) = <[u8; BLOCK]>::try_from(seen.as_slice()) {
        let header = Header(block);
        let size = header.size().and_then(|size| u64::try_from(size).ok());
        if header.kind() == b'g'
            && header.has_checksum()
            && let Some(size) = size.filter(|size| *size <= MOST)
        {
            (&mut stream).take(size).read_to_end(&mut seen)?;
            records = pax::parse(&seen[BLOCK..])
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect();
        }
    }
    Ok((records, Cursor::new(seen).chain(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Stream;

    #[test]
    fn what_was_written_is_read_and_the_stream_stays_whole() {
        let long = vec![b'v'; 3000];
        let given = [
            (b"VENDOR.key".to_vec(), b"a=b\nc".to_vec()),
            (b"VENDOR.long".to_vec(), long),
        ];
        let mut bytes = Vec::new();
        let mut out = Stream::new(&mut bytes);
        out.global(&given).unwrap();
        out.finish().unwrap();
        let (found, mut rest) = annotations(bytes.as_slice()).unwrap();
        assert_eq!(found, given);
        let mut again = Vec::new();
        rest.read_to_end(&mut again).unwrap();
        assert_eq!(again, bytes);
    }

    #[test]
    fn other_streams_have_none() {
        for stream in [&b""[..], b"short", &[0; 2048], &[b'g'; 600]] {
            let (found, mut rest) = annotations(stream).unwrap();
            assert!(found.is_empty());
            let mut again = Vec::new();
            rest.read_to_end(&mut again).unwrap();
            assert_eq!(again, stream);
        }
    }
}

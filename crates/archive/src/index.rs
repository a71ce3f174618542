//! Reads an archive without unpacking it: what its members are, and their contents, digested, in one file.
//!
//! The stream is hostile: names that lead out are refused, holes stay holes, and nothing is allocated that is not really in
//! the stream.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sys::dir::Time;

use crate::compression::decompress;
use crate::reader::{Kind, Member, Members, ReadError};

const BUFFER: usize = 256 * 1024;
const LONGEST_PATH: usize = 4095;

/// One member, in the order of the archive; a later one of the same name replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Relative, without `.` and `..`; empty for the root itself.
    pub path: PathBuf,
    pub kind: IndexedKind,
    /// Permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexedKind {
    Directory,
    File(Stored),
    Symlink(OsString),
    /// Another name of an earlier member.
    HardLink(PathBuf),
    /// A device or fifo.
    Other,
}

/// Where the contents of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Length of the file, holes included.
    pub size: u64,
    /// SHA-256 of the contents; with holes, of the data and where it stands.
    pub digest: [u8; 32],
    /// Where the data is in the file of contents, without holes.
    pub at: u64,
    /// Offset in the file and length of each piece of the data, when there are holes.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// Why an archive cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Archive(#[from] ReadError),
    #[error("path {} of the archive leads out of its directory", path.display())]
    Outside { path: PathBuf },
    #[error("a path of the archive is not usable: {}", path.display())]
    Name { path: PathBuf },
    #[error("the archive holds more than {limit} entries")]
    TooMany { limit: u64 },
    #[error("cannot keep the contents of the archive")]
    Write { source: io::Error },
}

/// Reads the plain tar stream `reader`; contents are appended to `contents`.
///
/// # Errors
/// See [`IndexError`].
pub fn index(
    reader: impl Read,
    mut contents: impl Write,
    most_entries: u64,
) -> Result<Vec<Indexed>, IndexError> {
    let mut members = Members::new(BufReader::with_capacity(BUFFER, reader));
    let mut indexed = Vec::new();
    let mut at = 0;
    let mut buffer = vec![0; BUFFER];
    while let Some(member) = members.next()? {
        if indexed.len() as u64 >= most_entries {
            return Err(IndexError::TooMany {
                limit: most_entries,
            });
        }
        let kind = match member.kind {
            Kind::Directory => IndexedKind::Directory,
            Kind::Symlink => IndexedKind::Symlink(OsString::from_vec(member.link.clone())),
            Kind::HardLink => IndexedKind::HardLink(place(&member.link)?),
            Kind::Character | Kind::Block | Kind::Fifo => IndexedKind::Other,
            Kind::File => {
                let stored = store(&mut members, &member, &mut contents, at, &mut buffer)?;
                at += stored.1;
                IndexedKind::File(stored.0)
            }
        };
        indexed.push(Indexed {
            path: place(&member.name)?,
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
        });
    }
    contents
        .flush()
        .map_err(|source| IndexError::Write { source })?;
    Ok(indexed)
}

/// Keeps the data of the current member; also how many bytes that was.
fn store<R: Read>(
    members: &mut Members<R>,
    member: &Member,
    contents: &mut impl Write,
    at: u64,
    buffer: &mut [u8],
) -> Result<(Stored, u64), IndexError> {
    let mut hash = Sha256::new();
    let pieces: Option<Vec<(u64, u64)>> = member.pieces.as_ref().map(|pieces| {
        pieces
            .iter()
            .map(|piece| (piece.offset, piece.length))
            .collect()
    });
    for (offset, length) in pieces.iter().flatten() {
        hash.update(offset.to_le_bytes());
        hash.update(length.to_le_bytes());
    }
    let mut length = 0;
    loop {
        let count = members.read(buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        contents
            .write_all(&buffer[..count])
            .map_err(|source| IndexError::Write { source })?;
        length += count as u64;
    }
    let stored = Stored {
        size: member.size,
        digest: hash.finalize().into(),
        at,
        pieces,
    };
    Ok((stored, length))
}

fn place(name: &[u8]) -> Result<PathBuf, IndexError> {
    let given = || PathBuf::from(OsStr::from_bytes(&name[..name.len().min(LONGEST_PATH)]));
    let mut path = PathBuf::new();
    for step in name.split(|byte| *byte == b'/') {
        match step {
            b"" | b"." => {}
            b".." => return Err(IndexError::Outside { path: given() }),
            step => path.push(OsStr::from_bytes(step)),
        }
    }
    if name.contains(&0) || path.as_os_str().len() > LONGEST_PATH {
        return Err(IndexError::Name { path: given() });
    }
    Ok(path)
}

/// Whether the stream, which may be compressed, begins like a tar archive. Streams in formats that cannot be decompressed
/// are none.
pub fn is_tar(reader: impl Read + Send) -> bool {
    let Ok(plain) = decompress(reader) else {
        return false;
    };
    matches!(Members::new(plain).next(), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileWriter;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = FileWriter::new(&mut bytes);
        for (name, contents) in files {
            writer.file(name, contents).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn members_and_contents() {
        let mut contents = Vec::new();
        let bytes = archive(&[("a", b"one"), ("d/b", b""), ("./c", b"two")]);
        let found = index(bytes.as_slice(), &mut contents, 10).unwrap();
        assert_eq!(contents, b"onetwo");
        let paths: Vec<_> = found.iter().map(|one| one.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a", "d/b", "c"]);
        let IndexedKind::File(stored) = &found[2].kind else {
            panic!("a file");
        };
        assert_eq!((stored.at, stored.size), (3, 3));
        assert_eq!(stored.digest, <[u8; 32]>::from(Sha256::digest(b"two")));
    }

    #[test]
    fn refusals() {
        let outside = archive(&[("a/../../b", b"x")]);
        assert!(matches!(
            index(outside.as_slice(), Vec::new(), 10),
            Err(IndexError::Outside { .. })
        ));
        let many = archive(&[("a", b""), ("b", b"")]);
        assert!(matches!(
            index(many.as_slice(), Vec::new(), 1),
            Err(IndexError::TooMany { limit: 1 })
        ));
        assert!(index(&many[..700], Vec::new(), 10).is_err());
    }

    #[test]
    fn archives_are_recognised() {
        assert!(is_tar(archive(&[("a", b"x")]).as_slice()));
        for other in [&b""[..], b"#!/bin/sh\n", &[0; 2000], &[0x1f, 0x8b, 8, 0]] {
            assert!(!is_tar(other));
        }
    }
}

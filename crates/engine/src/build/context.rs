//! The build context: an archive that was read once and never unpacked.
//!
//! What the members are is in memory, what they contain in one file without a name, which is gone however the build ends.
//! A rebuild that changes nothing needs no more than their digests. Nothing in an archive reaches beyond it: names that lead
//! out are refused, and links are followed inside only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::{Indexed, IndexedKind, Stored};
use rustix::fs::{Mode, OFlags};
use sys::dir::Time;

use super::BuildError;

/// More than any context that is meant.
const MOST_ENTRIES: u64 = 4 << 20;
/// A Dockerfile or a list of patterns is text for people.
const MOST_TEXT: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Context {
    nodes: BTreeMap<PathBuf, Node>,
    contents: File,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    pub(super) mtime: Time,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Directory,
    File(Stored),
    Symlink(OsString),
    /// Devices and fifos are not copied.
    Other,
}

const EPOCH: Time = Time {
    seconds: 0,
    nanoseconds: 0,
};

/// A file without a name in `directory`.
pub(super) fn nameless(directory: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = rustix::fs::openat(directory, c".", flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(made))
}

impl Context {
    /// Reads a tar stream, which may be compressed; contents are kept in a file without a name in `directory`.
    pub(super) fn read(
        stream: &mut (dyn Read + Send),
        directory: BorrowedFd<'_>,
    ) -> Result<Self, BuildError> {
        let contents = nameless(directory).map_err(|source| BuildError::File {
            action: "cannot keep the contents of",
            path: PathBuf::from("the build context"),
            source,
        })?;
        let plain = archive::decompress(stream).map_err(BuildError::Compression)?;
        let kept = BufWriter::with_capacity(1 << 20, &contents);
        let members = archive::index(plain, kept, MOST_ENTRIES).map_err(BuildError::Context)?;
        let mut context = Self {
            nodes: BTreeMap::from([(PathBuf::new(), directory_node())]),
            contents,
        };
        for member in members {
            context.add(member)?;
        }
        Ok(context)
    }

    fn add(&mut self, member: Indexed) -> Result<(), BuildError> {
        let kind = match member.kind {
            IndexedKind::Directory => NodeKind::Directory,
            IndexedKind::File(stored) => NodeKind::File(stored),
            IndexedKind::Symlink(target) => NodeKind::Symlink(target),
            IndexedKind::Other => NodeKind::Other,
            IndexedKind::HardLink(target) => match self.nodes.get(&target) {
                Some(node) if !matches!(node.kind, NodeKind::Directory) => node.kind.clone(),
                _ => {
                    return Err(BuildError::Invalid(format!(
                        "the build context links {} to {}, which is not in it",
                        member.path.display(),
                        target.display()
                    )));
                }
            },
        };
        // What is in the way of a directory gives way, links too: nothing is followed here.
        let mut above = PathBuf::new();
        for step in member.path.parent().into_iter().flatten() {
            above.push(step);
            let node = self
                .nodes
                .entry(above.clone())
                .or_insert_with(directory_node);
            if !matches!(node.kind, NodeKind::Directory) {
                *node = directory_node();
            }
        }
        if !matches!(kind, NodeKind::Directory) {
            self.remove(&member.path);
        }
        let node = Node {
            kind,
            mode: member.mode,
            mtime: member.mtime,
        };
        self.nodes.insert(member.path, node);
        Ok(())
    }

    /// Takes a path and all below it out.
    pub(super) fn remove(&mut self, path: &Path) {
        if path.as_os_str().is_empty() {
            return;
        }
        let gone: Vec<PathBuf> = self
            .nodes
            .range(path.to_owned()..)
            .map(|(found, _)| found)
            .take_while(|found| found.starts_with(path))
            .cloned()
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    /// What is at a path without links.
    pub(super) fn node(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Names in a directory, sorted.
    pub(super) fn names(&self, directory: &Path) -> Vec<OsString> {
        let depth = directory.iter().count();
        self.nodes
            .range(directory.to_owned()..)
            .take_while(|(path, _)| path.starts_with(directory))
            .filter(|(path, _)| path.iter().count() == depth + 1)
            .filter_map(|(path, _)| path.file_name().map(ToOwned::to_owned))
            .collect()
    }

    /// The contents of a small file; `None` when there is none.
    pub(super) fn text(&self, path: &Path) -> Result<Option<Vec<u8>>, BuildError> {
        let real = super::tree::real(path, true, &mut |path| Ok(self.link(path)));
        let Some(NodeKind::File(stored)) = real
            .ok()
            .and_then(|path| self.node(&path))
            .map(|node| &node.kind)
        else {
            return Ok(None);
        };
        if stored.size > MOST_TEXT {
            return Err(BuildError::Invalid(format!(
                "{} is too large",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        self.reader(stored)
            .read_to_end(&mut bytes)
            .map_err(|source| BuildError::File {
                action: "cannot read",
                path: path.to_owned(),
                source,
            })?;
        Ok(Some(bytes))
    }

    pub(super) fn link(&self, path: &Path) -> Option<OsString> {
        match &self.nodes.get(path)?.kind {
            NodeKind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// The contents of a file, holes as zeros.
    pub(super) fn reader<'c>(&'c self, stored: &'c Stored) -> StoredReader<'c> {
        StoredReader {
            file: &self.contents,
            stored,
            at: 0,
        }
    }
}

fn directory_node() -> Node {
    Node {
        kind: NodeKind::Directory,
        mode: 0o755,
        mtime: EPOCH,
    }
}

#[derive(Debug)]
pub(super) struct StoredReader<'c> {
    file: &'c File,
    stored: &'c Stored,
    at: u64,
}

impl StoredReader<'_> {
    /// Writes everything into an empty file; holes stay holes.
    pub(super) fn write_to(&self, target: &File) -> io::Result<()> {
        let whole = [(0, self.stored.size)];
        let pieces = self.stored.pieces.as_deref().unwrap_or(&whole);
        let mut from = self.stored.at;
        let mut buffer = vec![0; 128 << 10];
        for &(offset, length) in pieces {
            let (mut at, end) = (offset, offset + length);
            while at < end {
                let most = usize::try_from(end - at)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let count = self.file.read_at(&mut buffer[..most], from)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                target.write_all_at(&buffer[..count], at)?;
                at += count as u64;
                from += count as u64;
            }
        }
        if self.stored.pieces.is_some() {
            target.set_len(self.stored.size)?;
        }
        Ok(())
    }
}

impl Read for StoredReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let whole = [(0, self.stored.size)];
        let pieces = self.stored.pieces.as_deref().unwrap_or(&whole);
        let most = |length: u64, buffer: &[u8]| {
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(buffer.len())
        };
        let mut before = 0;
        for &(offset, length) in pieces {
            if self.at < offset {
                let count = most(offset - self.at, buffer);
                buffer[..count].fill(0);
                self.at += count as u64;
                return Ok(count);
            }
            if self.at < offset + length {
                let count = most(offset + length - self.at, buffer);
                let from = self.stored.at + before + (self.at - offset);
                let count = self.file.read_at(&mut buffer[..count], from)?;
                self.at += count as u64;
                return Ok(count);
            }
            before += length;
        }
        let count = most(self.stored.size.saturating_sub(self.at), buffer);
        buffer[..count].fill(0);
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &str)]) -> Context {
        use std::os::fd::AsFd as _;
        let mut bytes = Vec::new();
        let mut writer = archive::FileWriter::new(&mut bytes);
        for (name, contents) in files {
            writer.file(name, contents.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        let directory = sys::dir::open(&std::env::temp_dir()).unwrap();
        Context::read(&mut bytes.as_slice(), directory.as_fd()).unwrap()
    }

    #[test]
    fn a_tree_of_what_came() {
        let context = context(&[
            ("d/b", "two"),
            ("d/a", "one"),
            ("d-x", ""),
            ("d/b", "three"),
        ]);
        let names = |path: &str| context.names(Path::new(path));
        assert_eq!(names(""), ["d", "d-x"]);
        assert_eq!(names("d"), ["a", "b"]);
        assert_eq!(context.text(Path::new("d/b")).unwrap().unwrap(), b"three");
        assert!(context.text(Path::new("d")).unwrap().is_none());
    }

    #[test]
    fn a_file_gives_way_to_a_directory_and_back() {
        let mut context = context(&[("a", "x"), ("a/b", "y"), ("c/d", ""), ("c", "z")]);
        assert_eq!(context.text(Path::new("a/b")).unwrap().unwrap(), b"y");
        assert_eq!(context.text(Path::new("c")).unwrap().unwrap(), b"z");
        assert!(context.node(Path::new("c/d")).is_none());
        context.remove(Path::new("a"));
        assert!(context.node(Path::new("a/b")).is_none());
    }

    #[test]
    fn holes_are_zeros() {
        let context = context(&[("a", "abcdef")]);
        let stored = Stored {
            size: 10,
            digest: [0; 32],
            at: 0,
            pieces: Some(vec![(1, 2), (5, 4)]),
        };
        let mut bytes = Vec::new();
        context.reader(&stored).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0ab\0\0cdef\0");
    }
}

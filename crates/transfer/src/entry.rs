//! One entry of a tree, as both sides see it, and its digest.

use std::fmt;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::path::RelPath;

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry has besides contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub seconds: i64,
    pub nanoseconds: u32,
    /// Name and value, by name.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    Directory,
    File {
        size: u64,
    },
    /// What it points to.
    Symlink(Vec<u8>),
    /// One more name of a file that was named before.
    Link(RelPath),
    Character {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: RelPath,
    pub meta: Meta,
    pub node: Node,
    /// Of a file, those that hold anything but zeros; sent apart.
    #[serde(skip)]
    pub blocks: Vec<(u64, Digest)>,
}

impl Entry {
    /// Of everything that both sides must agree on. One more name of a file has its name and nothing else.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let plain = if matches!(self.node, Node::Link(_)) {
            postcard::to_allocvec(&(&self.path, &self.node))
        } else {
            postcard::to_allocvec(&(&self.path, &self.meta, &self.node))
        };
        let plain = plain.expect("plain data can be written to memory");
        hash.update((plain.len() as u64).to_be_bytes());
        hash.update(&plain);
        for (index, digest) in &self.blocks {
            hash.update(index.to_be_bytes());
            hash.update(digest.0);
        }
        Digest(hash.finalize().into())
    }

    /// Whether nothing about it is out of bounds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let node = match &self.node {
            Node::Directory => true,
            Node::File { size } => i64::try_from(*size).is_ok(),
            Node::Symlink(target) => {
                !target.is_empty() && target.len() < 4096 && !target.contains(&0)
            }
            Node::Link(to) => to.is_sound() && !to.is_root() && to < &self.path,
            Node::Character { .. } | Node::Block { .. } | Node::Fifo | Node::Socket => true,
        };
        let attributes = self
            .meta
            .attributes
            .iter()
            .all(|(name, value)| is_kept(name) && value.len() <= 64 << 10);
        node && attributes
            && self.path.is_sound()
            && self.meta.mode <= 0o7777
            && self.meta.nanoseconds < 1_000_000_000
            && (!self.path.is_root() || self.node == Node::Directory)
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.node, Node::File { .. })
    }
}

/// Extended attributes that go along: labels of security modules belong to the machine, an overlay's to its mount; XFS shows
/// ACLs a second time under names of its own.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    !name.contains(&0)
        && name.len() <= 255
        && ((name.starts_with(b"user.") || name.starts_with(b"trusted."))
            && !name.starts_with(b"trusted.overlay.")
            && !name.starts_with(b"trusted.SGI_")
            || matches!(
                name,
                b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
            ))
}

/// The digest of a tree, from the digests of its entries in the order of a walk.
#[derive(Debug, Default)]
pub(crate) struct TreeDigest {
    hash: Sha256,
    entries: u64,
}

impl TreeDigest {
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.hash.update(entry.digest().0);
        self.entries += 1;
    }

    pub(crate) fn finish(self) -> Digest {
        let mut hash = self.hash;
        hash.update(self.entries.to_be_bytes());
        Digest(hash.finalize().into())
    }
}

/// What a node is as a type of file; `None` for one more name.
pub(crate) fn file_type(node: &Node) -> Option<FileType> {
    Some(match node {
        Node::Directory => FileType::Directory,
        Node::File { .. } => FileType::RegularFile,
        Node::Symlink(_) => FileType::Symlink,
        Node::Character { .. } => FileType::CharacterDevice,
        Node::Block { .. } => FileType::BlockDevice,
        Node::Fifo => FileType::Fifo,
        Node::Socket => FileType::Socket,
        Node::Link(_) => return None,
    })
}

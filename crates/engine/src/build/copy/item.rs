//! One entry that `ADD` or `COPY` makes: where it comes from and where it goes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sys::dir::Time;

use crate::build::tree::{Found, FoundKind, Tree};

#[derive(Debug)]
pub(super) struct Item {
    /// In the image, relative to its root; the destination's links are still in it.
    pub(super) target: PathBuf,
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None`: that of the copy.
    pub(super) mtime: Option<Time>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// From the tree that is copied from.
    Tree(Found),
    /// Of a heredoc.
    Text(Vec<u8>),
    Download(Download),
    /// What is in an archive goes below the target.
    Archive(Box<Self>),
}

/// A file that was fetched and has no name.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) file: File,
    pub(super) digest: [u8; 32],
}

impl Item {
    /// Adds everything that makes a difference in the image to `hash`.
    pub(super) fn digest(&self, tree: &Tree<'_>, hash: &mut Sha256) -> io::Result<()> {
        let mut text = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        text(self.target.as_os_str().as_bytes());
        text(&self.mode.to_le_bytes());
        text(&self.uid.to_le_bytes());
        text(&self.gid.to_le_bytes());
        self.content.digest(tree, &mut text)?;
        if let Content::Tree(found) = &self.content {
            for (name, value) in tree.attributes(found)? {
                text(name.as_bytes());
                text(&value);
            }
        }
        Ok(())
    }
}

impl Content {
    fn digest(&self, tree: &Tree<'_>, text: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Tree(found) => match &found.kind {
                FoundKind::Directory => text(b"directory"),
                FoundKind::File(_) => text(&tree.digest(found)?),
                FoundKind::Symlink(target) => {
                    text(b"link");
                    text(target.as_bytes());
                }
                FoundKind::Other => text(b"other"),
            },
            Self::Text(bytes) => text(&Sha256::digest(bytes)),
            Self::Download(download) => text(&download.digest),
            Self::Archive(content) => {
                text(b"archive");
                content.digest(tree, text)?;
            }
        }
        Ok(())
    }

    pub(super) fn reader<'c>(
        &'c self,
        tree: &'c Tree<'_>,
    ) -> io::Result<Box<dyn Read + Send + 'c>> {
        match self {
            Self::Tree(found) => tree.reader(found),
            Self::Text(bytes) => Ok(Box::new(bytes.as_slice())),
            Self::Download(download) => Ok(Box::new(FromStart {
                file: &download.file,
                at: 0,
            })),
            Self::Archive(content) => content.reader(tree),
        }
    }

    /// Writes a file's contents into an empty one.
    pub(super) fn write_to(&self, tree: &Tree<'_>, target: &File) -> io::Result<()> {
        match self {
            Self::Tree(found) => tree.write_to(found, target),
            other => io::copy(&mut other.reader(tree)?, &mut &*target).map(drop),
        }
    }
}

/// Reads a file that several readers share.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

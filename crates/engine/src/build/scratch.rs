//! A directory for what one build needs beside its layers; gone with it, and swept by the next start if the engine died.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use store::{OpId, Paths};

use super::BuildError;

#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    opened: OwnedFd,
    next: AtomicU64,
}

impl Scratch {
    pub(super) fn new(paths: &Paths) -> Result<Self, BuildError> {
        let path = paths.staging(&OpId::random());
        let made =
            sys::durable::create_dir_unsynced(&path, 0o700).and_then(|()| sys::dir::open(&path));
        match made {
            Ok(opened) => Ok(Self {
                path,
                opened,
                next: AtomicU64::new(0),
            }),
            Err(source) => Err(BuildError::File {
                action: "cannot make",
                path,
                source,
            }),
        }
    }

    pub(super) fn root(&self) -> std::os::fd::BorrowedFd<'_> {
        self.opened.as_fd()
    }

    /// A file that nobody sees.
    pub(super) fn nameless(&self) -> io::Result<File> {
        super::context::nameless(self.opened.as_fd())
    }

    /// A new empty directory.
    pub(super) fn directory(&self) -> Result<PathBuf, BuildError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(number.to_string());
        sys::durable::create_dir_unsynced(&path, 0o755).map_err(|source| BuildError::File {
            action: "cannot make",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Upper and work directory for an overlay that nobody writes to.
    pub(super) fn overlay(&self) -> Result<(PathBuf, PathBuf), BuildError> {
        let place = self.directory()?;
        let (upper, work) = (place.join("upper"), place.join("work"));
        for path in [&upper, &work] {
            sys::durable::create_dir_unsynced(path, 0o755).map_err(|source| BuildError::File {
                action: "cannot make",
                path: path.clone(),
                source,
            })?;
        }
        Ok((upper, work))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = sys::dir::remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "what a build left is removed at the next start");
        }
    }
}

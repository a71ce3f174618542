//! Commands of a stream, done to a tree that nobody else sees.
//!
//! The same is made that entries and blocks would make: attributes that stay with the machine are left out, zeros become holes.
//! No path is followed through a link, data is shared within the tree alone, and nothing but a file is opened.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Gid, OFlags, Timestamps, Uid};
use sys::dir::{self, Stat};
use sys::xattr::{self, Subject};

use super::command::{Command, Identity};
use crate::entry::{Node, is_kept};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::read::Places;
use crate::stock::Stock;
use crate::write;

/// So many zeros in a row are worth a hole.
const HOLE: usize = 4096;

/// Does the commands of one stream.
#[derive(Debug)]
pub(crate) struct Applier<'a> {
    places: Places<'a>,
    /// What the tree is, by the stream before this one.
    was: Option<Identity>,
    is: Option<Identity>,
    /// The file that was written to last.
    open: Option<(RelPath, OwnedFd)>,
    received: u64,
    ended: bool,
    stock: &'a mut Stock,
}

/// What came of a stream.
#[derive(Debug)]
pub(crate) struct Applied {
    /// What the tree is now; `None` when the stream did not say.
    pub(crate) identity: Option<Identity>,
    /// The stream has come to its end.
    pub(crate) ended: bool,
    /// Contents that came.
    pub(crate) received: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, was: Option<Identity>, stock: &'a mut Stock) -> Self {
        Self {
            places: Places::new(root),
            was,
            is: None,
            open: None,
            received: 0,
            ended: false,
            stock,
        }
    }

    pub(crate) fn finish(self) -> Applied {
        Applied {
            identity: self.is,
            ended: self.ended,
            received: self.received,
        }
    }

    /// # Errors
    /// [`TransferError`]; the tree then holds a part of what the stream makes.
    pub(crate) fn apply(&mut self, command: Command<'_>) -> Result<(), TransferError> {
        if self.ended {
            return Err(TransferError::Nonsense("a command after the end"));
        }
        if self.is.is_none() != matches!(command, Command::Begin { .. }) {
            return Err(TransferError::Nonsense("a stream that does not begin once"));
        }
        match command {
            Command::Begin { identity, parent } => {
                if parent != self.was {
                    return Err(TransferError::Nonsense("a stream for another tree"));
                }
                self.is = Some(identity);
                Ok(())
            }
            Command::Make { path, node } => self.make(&path, &node),
            Command::Rename { from, to } => self.rename(&from, &to),
            Command::Link { first, path } => self.link(&first, &path),
            Command::Unlink(path) => self.remove(&path, AtFlags::empty()),
            Command::RemoveDirectory(path) => self.remove(&path, AtFlags::REMOVEDIR),
            Command::SetAttribute { path, name, value } => self.set_attribute(&path, name, value),
            Command::RemoveAttribute { path, name } => self.remove_attribute(&path, name),
            Command::Write {
                path,
                offset,
                bytes,
            } => self.write(&path, offset, bytes),
            Command::Share {
                path,
                offset,
                length,
                whose,
                from,
                from_offset,
            } => {
                if self.is != Some(whose) {
                    return Err(TransferError::Nonsense("data of another tree"));
                }
                self.share((&from, from_offset), (&path, offset), length)
            }
            Command::Truncate { path, size } => {
                let stat = self.file(&path)?.1;
                self.stock.resize(&stat, size);
                let (file, _) = self.file(&path)?;
                rustix::fs::ftruncate(file, size)
                    .map_err(|error| TransferError::io("write", &path)(error.into()))
            }
            Command::Mode { path, mode } => self.mode(&path, mode),
            Command::Owner { path, uid, gid } => {
                let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                self.within("give away", &path, |dir, name| {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    Ok(rustix::fs::chownat(dir, name, owner.0, owner.1, flags)?)
                })
            }
            Command::Times {
                path,
                accessed,
                modified,
            } => {
                let times = Timestamps {
                    last_access: accessed,
                    last_modification: modified,
                };
                let stat = self.within("set the times of", &path, |dir, name| {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    rustix::fs::utimensat(dir, name, &times, flags)?;
                    dir::stat_at(dir, name)
                })?;
                // The last thing that is said of a file that was written to.
                self.stock.close(&stat);
                Ok(())
            }
            Command::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    /// Calls `act` with the directory that holds `path`, and its name there.
    fn within<T>(
        &mut self,
        action: &'static str,
        path: &RelPath,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> Result<T, TransferError> {
        self.places
            .parent(path)
            .and_then(|dir| act(dir, path.name()))
            .map_err(TransferError::io(action, path))
    }

    fn make(&mut self, path: &RelPath, node: &Node) -> Result<(), TransferError> {
        self.open = None;
        let file = self.within("make", path, |dir, name| {
            let file = match node {
                Node::Directory => write::make_directory(dir, name).map(|()| None),
                Node::File { .. } => write::make_file(dir, name).map(Some),
                other => write::make_special(dir, name, other).map(|()| None),
            }?;
            disinherit(Subject::Entry(dir, name))?;
            Ok(file)
        })?;
        if let Some(file) = file {
            let stat = dir::stat(file.as_fd()).map_err(TransferError::io("make", path))?;
            self.stock.forget(&stat);
            self.open = Some((path.clone(), file));
        }
        Ok(())
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<(), TransferError> {
        let failed = || TransferError::io("rename", from);
        self.open = None;
        let target = self.places.apart(to).map_err(failed())?;
        let source = self.places.parent(from).map_err(failed())?;
        rustix::fs::renameat(source, from.name(), target, to.name())
            .map_err(|error| failed()(error.into()))?;
        self.places.forget_below(from);
        self.places.forget_below(to);
        Ok(())
    }

    fn link(&mut self, first: &RelPath, path: &RelPath) -> Result<(), TransferError> {
        let failed = || TransferError::io("link", path);
        let holder = self.places.apart(first).map_err(failed())?;
        let dir = self.places.parent(path).map_err(failed())?;
        write::link(holder.as_fd(), first.name(), dir, path.name()).map_err(failed())
    }

    fn remove(&mut self, path: &RelPath, flags: AtFlags) -> Result<(), TransferError> {
        self.open = None;
        self.places.forget_below(path);
        self.within("remove", path, |dir, name| {
            Ok(rustix::fs::unlinkat(dir, name, flags)?)
        })
    }

    fn set_attribute(
        &mut self,
        path: &RelPath,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), TransferError> {
        if !is_kept(name) {
            return Ok(());
        }
        let set = self.within("set the attributes of", path, |dir, entry| {
            xattr::set(Subject::Entry(dir, entry), OsStr::from_bytes(name), value)
        });
        match set {
            Err(TransferError::Io { source, .. })
                if source.kind() == io::ErrorKind::Unsupported =>
            {
                Err(TransferError::Attribute {
                    path: path.clone(),
                    attribute: String::from_utf8_lossy(name).into_owned(),
                })
            }
            other => other,
        }
    }

    fn remove_attribute(&mut self, path: &RelPath, name: &[u8]) -> Result<(), TransferError> {
        if !is_kept(name) {
            return Ok(());
        }
        self.within("set the attributes of", path, |dir, entry| {
            xattr::remove(Subject::Entry(dir, entry), OsStr::from_bytes(name))
        })
    }

    fn mode(&mut self, path: &RelPath, mode: u32) -> Result<(), TransferError> {
        self.within("set the mode of", path, |dir, name| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(dir, name, flags, rustix::fs::Mode::empty())?;
            dir::chmod_path(node.as_fd(), mode)
        })
    }

    fn write(&mut self, path: &RelPath, offset: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let is_hole = bytes.len() >= HOLE && bytes.iter().all(|&byte| byte == 0);
        let stat = self.file(path)?.1;
        self.stock.write(&stat, offset, bytes.len() as u64);
        let (file, _) = self.file(path)?;
        let written = if is_hole {
            write::hole(file, offset, bytes)
        } else {
            write::at(file, offset, bytes)
        };
        written.map_err(TransferError::io("write", path))?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    fn share(
        &mut self,
        (from, from_offset): (&RelPath, u64),
        (path, offset): (&RelPath, u64),
        length: u64,
    ) -> Result<(), TransferError> {
        let failed = TransferError::io("share data with", from);
        let source = self
            .within("open", from, write::open)?
            .ok_or(TransferError::Nonsense("data of what is no file"))?;
        let stat = self.file(path)?.1;
        self.stock.write(&stat, offset, length);
        let (target, _) = self.file(path)?;
        sys::reflink::share(source.as_fd(), from_offset, length, target, offset).map_err(failed)
    }

    /// The file of that path, open for writing, and what it is.
    fn file(&mut self, path: &RelPath) -> Result<(BorrowedFd<'_>, Stat), TransferError> {
        let failed = || TransferError::io("look at", path);
        if self.open.as_ref().is_none_or(|(known, _)| known != path) {
            let file = self
                .within("open", path, write::open)?
                .ok_or(TransferError::Nonsense("a change of what is no file"))?;
            let stat = dir::stat(file.as_fd()).map_err(failed())?;
            self.stock.open(&stat);
            self.open = Some((path.clone(), file));
        }
        let (_, file) = self.open.as_ref().expect("it has just been opened");
        let stat = dir::stat(file.as_fd()).map_err(failed())?;
        Ok((file.as_fd(), stat))
    }
}

/// Takes away what a new entry has from its directory, an ACL: a stream says what it has, not what it has not.
fn disinherit(subject: Subject<'_>) -> io::Result<()> {
    xattr::list(subject)?
        .iter()
        .filter(|name| is_kept(name.as_bytes()))
        .try_for_each(|name| xattr::remove(subject, name))
}

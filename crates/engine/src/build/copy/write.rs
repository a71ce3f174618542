//! Writes entries into an image, through the overlay of its layers and the one that is being made.
//!
//! Every path is resolved inside the image's root. What is there gives way to a file, a directory never does; directories that
//! are there keep their owner and mode.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use sys::dir::Time;

use super::item::{Content, Item};
use crate::build::BuildError;
use crate::build::tree::{FoundKind, Tree};
use crate::images::Room;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

pub(super) struct Writer<'a> {
    instruction: &'static str,
    root: BorrowedFd<'a>,
    /// Of `--chown`.
    owner: Option<(u32, u32)>,
    /// The directory of the entry before.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories that were made, with their times, which come last.
    made: Vec<(PathBuf, Time)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        instruction: &'static str,
        root: BorrowedFd<'a>,
        owner: Option<(u32, u32)>,
    ) -> Self {
        Self {
            instruction,
            root,
            owner,
            parent: None,
            made: Vec::new(),
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) -> BuildError {
        self.refused(format!(
            "cannot write /{}: {}",
            path.display(),
            sys::error_words(error)
        ))
    }

    fn refused(&self, why: String) -> BuildError {
        BuildError::Copy {
            instruction: self.instruction,
            why,
        }
    }

    pub(super) fn write(&mut self, tree: &Tree<'_>, item: &Item) -> Result<(), BuildError> {
        match &item.content {
            Content::Archive(content) => self.unpack(tree, content, &item.target),
            Content::Tree(found) if matches!(found.kind, FoundKind::Directory) => {
                self.directory(tree, item)
            }
            Content::Tree(found) => match &found.kind {
                FoundKind::Symlink(target) => self.link(item, target),
                _ => self.file(tree, item),
            },
            Content::Text(_) | Content::Download(_) => self.file(tree, item),
        }
    }

    /// Times of directories, after everything was put into them.
    pub(super) fn finish(&mut self) -> Result<(), BuildError> {
        for (path, mtime) in std::mem::take(&mut self.made).into_iter().rev() {
            sys::dir::open_in_root(self.root, &path, DIRECTORY)
                .and_then(|opened| Ok(rustix::fs::futimens(&opened, &times(mtime))?))
                .map_err(|error| self.failed(&path, &error))?;
        }
        Ok(())
    }

    fn owner_of(&self, item: &Item) -> (u32, u32) {
        self.owner.unwrap_or((item.uid, item.gid))
    }

    /// Opens the directory `path`, which is made if it is missing; whether it was.
    fn ensure(&self, path: &Path) -> Result<(OwnedFd, bool), BuildError> {
        match sys::dir::open_in_root(self.root, path, DIRECTORY) {
            Ok(opened) => return Ok((opened, false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(
                    self.refused(format!("cannot copy to non-directory: /{}", path.display()))
                );
            }
            Err(error) => return Err(self.failed(path, &error)),
        }
        let is_missing = |path: &Path| {
            let found = sys::dir::open_in_root(self.root, path, OFlags::PATH);
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && is_missing(path))
            .collect();
        let opened = sys::dir::mkdir_all_in_root(self.root, path, 0o755)
            .map_err(|error| self.failed(path, &error))?;
        if let Some((uid, gid)) = self.owner {
            for path in missing {
                sys::dir::open_in_root(self.root, path, DIRECTORY)
                    .and_then(|opened| {
                        Ok(rustix::fs::fchown(
                            &opened,
                            Some(Uid::from_raw(uid)),
                            Some(Gid::from_raw(gid)),
                        )?)
                    })
                    .map_err(|error| self.failed(path, &error))?;
            }
        }
        Ok((opened, true))
    }

    /// The directory in which an entry goes, and its name there.
    fn place<'p>(&mut self, target: &'p Path) -> Result<(&OwnedFd, &'p OsStr), BuildError> {
        let Some(name) = target.file_name() else {
            return Err(self.refused(format!(
                "cannot replace to directory /{} with file",
                target.display()
            )));
        };
        let above = target.parent().unwrap_or(Path::new(""));
        if self.parent.as_ref().is_none_or(|(known, _)| known != above) {
            let (opened, _) = self.ensure(above)?;
            self.parent = Some((above.to_owned(), opened));
        }
        let (_, opened) = self.parent.as_ref().expect("set above");
        Ok((opened, name))
    }

    fn directory(&mut self, tree: &Tree<'_>, item: &Item) -> Result<(), BuildError> {
        let (opened, made) = self.ensure(&item.target)?;
        if !made {
            return Ok(());
        }
        let failed = |error: &io::Error| self.failed(&item.target, error);
        let (uid, gid) = self.owner_of(item);
        rustix::fs::fchown(&opened, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|error| failed(&error.into()))?;
        self.attributes(tree, item, opened.as_fd())?;
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(item.mode))
            .map_err(|error| failed(&error.into()))?;
        if let Some(mtime) = item.mtime {
            self.made.push((item.target.clone(), mtime));
        }
        Ok(())
    }

    /// Removes what has the name, unless it is a directory.
    fn clear(&mut self, target: &Path) -> Result<(), BuildError> {
        let (parent, name) = self.place(target)?;
        let removed = match sys::dir::stat_at(parent.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
            Ok(stat) if stat.kind() == FileType::Directory => {
                return Err(self.refused(format!(
                    "cannot replace to directory /{} with file",
                    target.display()
                )));
            }
            Ok(_) => rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(Into::into),
        };
        removed.map_err(|error| self.failed(target, &error))
    }

    fn file(&mut self, tree: &Tree<'_>, item: &Item) -> Result<(), BuildError> {
        let target = &item.target;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |writer: &mut Self| -> Result<Result<OwnedFd, Errno>, BuildError> {
            let (parent, name) = writer.place(target)?;
            Ok(rustix::fs::openat(
                parent,
                name,
                flags,
                Mode::from_raw_mode(0o600),
            ))
        };
        let opened = match create(self)? {
            Err(Errno::EXIST) => {
                self.clear(target)?;
                create(self)?
            }
            other => other,
        };
        let file = opened
            .map(File::from)
            .map_err(|error| self.failed(target, &error.into()))?;
        let (uid, gid) = self.owner_of(item);
        item.content
            .write_to(tree, &file)
            .and_then(|()| {
                rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
                Ok(())
            })
            .map_err(|error| self.failed(target, &error))?;
        self.attributes(tree, item, file.as_fd())?;
        let set = || -> io::Result<()> {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(item.mode))?;
            if let Some(mtime) = item.mtime {
                rustix::fs::futimens(&file, &times(mtime))?;
            }
            Ok(())
        };
        set().map_err(|error| self.failed(target, &error))
    }

    fn attributes(
        &self,
        tree: &Tree<'_>,
        item: &Item,
        opened: BorrowedFd<'_>,
    ) -> Result<(), BuildError> {
        let Content::Tree(found) = &item.content else {
            return Ok(());
        };
        let attributes = tree
            .attributes(found)
            .map_err(|error| self.failed(&item.target, &error))?;
        for (name, value) in attributes {
            let set = sys::xattr::set(sys::xattr::Subject::Open(opened), &name, &value);
            match set {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {
                    tracing::debug!(attribute = ?name, "an extended attribute is not kept here");
                }
                other => other.map_err(|error| self.failed(&item.target, &error))?,
            }
        }
        Ok(())
    }

    fn link(&mut self, item: &Item, link: &OsStr) -> Result<(), BuildError> {
        let target = &item.target;
        let make = |writer: &mut Self| -> Result<Result<(), Errno>, BuildError> {
            let (parent, name) = writer.place(target)?;
            Ok(rustix::fs::symlinkat(link, parent, name))
        };
        let made = match make(self)? {
            Err(Errno::EXIST) => {
                self.clear(target)?;
                make(self)?
            }
            other => other,
        };
        let (uid, gid) = self.owner_of(item);
        let mtime = item.mtime;
        let set = |writer: &mut Self| -> Result<io::Result<()>, BuildError> {
            let (parent, name) = writer.place(target)?;
            let chown = rustix::fs::chownat(
                parent,
                name,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            );
            let timed = chown.and_then(|()| match mtime {
                Some(mtime) => {
                    rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
                }
                None => Ok(()),
            });
            Ok(timed.map_err(Into::into))
        };
        made.map_err(|error| self.failed(target, &error.into()))?;
        set(self)?.map_err(|error| self.failed(target, &error))
    }

    fn unpack(
        &mut self,
        tree: &Tree<'_>,
        content: &Content,
        target: &Path,
    ) -> Result<(), BuildError> {
        self.ensure(target)?;
        // Archives may replace directories by links: nothing that is open is trusted afterwards.
        self.parent = None;
        let name = target.display().to_string();
        let reader = content
            .reader(tree)
            .map_err(|error| self.failed(target, &error))?;
        let plain = archive::decompress(reader).map_err(BuildError::Compression)?;
        let room = Room::on_disk(self.root, &name)?;
        let options = archive::UnpackOptions {
            limits: room.limits(),
            owner: match self.owner {
                Some((uid, gid)) => archive::Owner::Fixed(uid, gid),
                None => archive::Owner::Keep,
            },
            rename: (!target.as_os_str().is_empty()).then(|| archive::Rename {
                from: PathBuf::new(),
                to: target.to_owned(),
            }),
            ..archive::UnpackOptions::default()
        };
        archive::unpack(plain, self.root, &options)
            .map(drop)
            .map_err(|error| room.refused(&name, &error).into())
    }
}

fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: mtime.nanoseconds.into(),
        },
    }
}

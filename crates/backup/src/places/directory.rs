//! A repository in a directory. Files appear complete and synced, or not at all; nothing follows a link in their names.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustic_core::Id;
use rustix::fs::{Mode, OFlags};

use crate::place::{Kind, Name, PlaceError, Storage};

/// Repositories hold secrets of all who are backed up in them.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn path(&self, name: Name) -> PathBuf {
        self.path.join(name.path())
    }

    fn failed(&self, action: &'static str, name: Name, source: io::Error) -> PlaceError {
        match source.kind() {
            io::ErrorKind::NotFound => PlaceError::Missing {
                place: self.shown(),
                file: name.to_string(),
            },
            _ => self.broken(action, name.to_string(), source),
        }
    }

    fn broken(&self, action: &'static str, file: String, source: io::Error) -> PlaceError {
        PlaceError::File {
            place: self.shown(),
            file,
            action,
            source,
        }
    }

    fn open(&self, name: Name) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::open(self.path(name), flags, Mode::empty())?.into())
    }

    /// The names in a directory; nothing when it is not there.
    fn names(&self, path: &Path) -> Result<Vec<sys::dir::Entry>, PlaceError> {
        let read = sys::dir::open(path).and_then(|opened| sys::dir::read_dir(opened.as_fd()));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| self.broken("list", path.display().to_string(), error)),
        }
    }

    /// The directories that hold the files of one kind.
    fn directories(&self, kind: Kind) -> Result<Vec<PathBuf>, PlaceError> {
        let top = self.path.join(kind.directory());
        if kind != Kind::Pack {
            return Ok(vec![top]);
        }
        // Directories of a single letter pair, and the top itself: very old repositories have packs there.
        let mut found = vec![top.clone()];
        for entry in self.names(&top)? {
            if entry.name.len() == 2 && entry.kind == sys::dir::FileType::Directory {
                found.push(top.join(&entry.name));
            }
        }
        Ok(found)
    }
}

impl Storage for Directory {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        let make = |path: &Path| {
            sys::durable::create_dir_all(path, DIRECTORY_MODE)
                .map_err(|error| self.broken("make", path.display().to_string(), error))
        };
        make(&self.path)?;
        for kind in Kind::DIRECTORIES {
            make(&self.path.join(kind.directory()))?;
        }
        for first in 0..=255_u8 {
            let path = self.path.join(format!("data/{first:02x}"));
            sys::durable::create_dir_unsynced(&path, DIRECTORY_MODE)
                .or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(error),
                })
                .map_err(|error| self.broken("make", path.display().to_string(), error))?;
        }
        let data = self.path.join("data");
        sys::durable::sync_dir(&data)
            .map_err(|error| self.broken("sync", data.display().to_string(), error))
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        if kind == Kind::Config {
            return match self.open(Name::config()).and_then(|file| file.metadata()) {
                Ok(metadata) => Ok(vec![(Id::default(), metadata.len())]),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(self.failed("read", Name::config(), error)),
            };
        }
        let mut files = Vec::new();
        for directory in self.directories(kind)? {
            let opened = match sys::dir::open(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other,
            };
            let failed = |error| self.broken("list", directory.display().to_string(), error);
            let opened = opened.map_err(failed)?;
            for entry in sys::dir::read_dir(opened.as_fd()).map_err(failed)? {
                let id = entry.name.to_str().filter(|name| name.len() == 64);
                let Some(id) = id.and_then(|name| name.parse().ok()) else {
                    continue;
                };
                match sys::dir::stat_at(opened.as_fd(), &entry.name) {
                    Ok(stat) => files.push((id, stat.size)),
                    // Locks come and go.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(files)
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        let read = || {
            let mut bytes = Vec::new();
            self.open(name)?.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        };
        read().map_err(|error| self.failed("read", name, error))
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        let failed = |error| self.failed("read", name, error);
        let mut file = self.open(name).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        let got = bytes.len() as u64;
        if got != length {
            // Reading it again would not make it longer.
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short");
            return Err(failed(cut));
        }
        Ok(bytes.into())
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        let path = self.path(name);
        let write = || sys::durable::write_atomic(&path, bytes, FILE_MODE);
        let written = match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(&self.path);
                // A repository whose own directory is gone, an unmounted disk, is not made anew.
                if sys::dir::open(&self.path).is_ok() {
                    sys::durable::create_dir_all(parent, DIRECTORY_MODE).and_then(|()| write())
                } else {
                    Err(error)
                }
            }
            other => other,
        };
        written.map_err(|error| self.broken("write", name.to_string(), error))
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        sys::durable::remove_file(&self.path(name))
            .map(drop)
            .map_err(|error| self.broken("remove", name.to_string(), error))
    }

    fn sweep(&self) -> Result<(), PlaceError> {
        for kind in Kind::DIRECTORIES {
            for directory in self.directories(kind)? {
                for entry in self.names(&directory)? {
                    let name = entry.name.to_str().unwrap_or_default();
                    // `.<id>.<pid>-<count>.tmp`
                    let Some(id) = name.get(1..65).filter(|_| name.starts_with('.')) else {
                        continue;
                    };
                    if sys::durable::is_leftover(entry.name.as_ref(), id.as_ref()) {
                        let path = directory.join(name);
                        sys::durable::remove_file(&path)
                            .map_err(|error| self.broken("remove", name.to_owned(), error))?;
                    }
                }
            }
        }
        Ok(())
    }
}

//! One entry of a tree that is no directory: its data, its attributes, and the names that it shares an inode with.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{CopyError, Job, Linked, Place, lock};
use crate::dir::{self, Stat};
use crate::{at_rest, copy_attributes, copy_data, is_gone, writeback};

/// So often a name is looked at that others give to one thing after the other.
const TRIES: u32 = 8;

/// Of less, a sync of many writes more at a time.
const WORTH_WRITING: u64 = 1 << 20;

impl Job<'_> {
    /// Copies anything but a directory. What is removed meanwhile is left out; what is replaced, by a rename perhaps, is copied as
    /// what it has become.
    pub(super) fn entry(&self, place: Place<'_>, name: &OsStr) -> Result<(), CopyError> {
        for _ in 1..TRIES {
            match self.present_entry(place, name) {
                Err(CopyError::Read { source, .. }) if is_gone(&source) => {}
                other => return other,
            }
        }
        self.present_entry(place, name)
    }

    fn present_entry(&self, place: Place<'_>, name: &OsStr) -> Result<(), CopyError> {
        let stat = match dir::stat_at(place.src, name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(place.read_error(name, error)),
        };
        if stat.kind() == FileType::Directory {
            // No rename puts a directory in the place of something else: there was a moment without either.
            return Ok(());
        }
        let mut inode = stat.ino;
        if stat.kind() == FileType::RegularFile {
            let Some((src, stat)) = open_file(place, name)? else {
                return Ok(());
            };
            inode = stat.ino;
            if self.options.only_at_rest && !at_rest::is_at_rest(src.as_fd()) {
                return leave_out(place, name, &stat);
            }
            if let Made::New(dst) = self.first_name(place, name, &stat, || create(place, name))? {
                self.data(src.as_fd(), dst.as_fd(), &stat)
                    .map_err(|source| CopyError::Data {
                        path: place.path.join(name),
                        source,
                    })?;
                copy_attributes::to_open(src.as_fd(), dst.as_fd(), &stat, self.acl).map_err(
                    |source| CopyError::Attributes {
                        path: place.path.join(name),
                        source,
                    },
                )?;
            }
        } else if let Made::New(()) =
            self.first_name(place, name, &stat, || special(place, name, &stat))?
        {
            self.advance(stat.blocks.saturating_mul(512));
            copy_attributes::to_entry(place.src, place.dst, name, &stat, self.acl)
                .map_err(|source| self.attributes_error(place, name, &stat, source))?;
        }
        self.count_entry();
        if let Some(noted) = place.noted {
            noted.add(name, inode);
        }
        Ok(())
    }

    /// Takes away what was made of an entry that is gone.
    fn attributes_error(
        &self,
        place: Place<'_>,
        name: &OsStr,
        stat: &Stat,
        source: io::Error,
    ) -> CopyError {
        if !is_gone(&source) {
            return CopyError::Attributes {
                path: place.path.join(name),
                source,
            };
        }
        lock(&self.links).remove(&(stat.dev, stat.ino));
        match rustix::fs::unlinkat(place.dst, name, AtFlags::empty()) {
            Ok(()) => place.read_error(name, source),
            Err(error) => place.write_error(name, error),
        }
    }

    fn data(&self, src: BorrowedFd<'_>, dst: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        let takes = stat.blocks.saturating_mul(512);
        let left = Cell::new(takes);
        let unwritten = Cell::new(0);
        copy_data::copy(src, dst, stat, &self.reflink, &|bytes| {
            unwritten.set(unwritten.get() + bytes);
            if self.options.only_at_rest && unwritten.get() >= copy_data::PIECE {
                writeback::begin(dst);
                unwritten.set(0);
            }
            let bytes = bytes.min(left.get());
            left.set(left.get() - bytes);
            self.advance(bytes)
        })?;
        if self.options.only_at_rest && unwritten.get() >= WORTH_WRITING {
            writeback::begin(dst);
        }
        self.advance(left.get());
        self.bytes.fetch_add(stat.size, Ordering::Relaxed);
        Ok(())
    }

    /// Makes an entry with `make`, unless another name of its inode was copied already: then it becomes a link to that.
    fn first_name<T>(
        &self,
        place: Place<'_>,
        name: &OsStr,
        stat: &Stat,
        make: impl FnOnce() -> Result<T, CopyError>,
    ) -> Result<Made<T>, CopyError> {
        if stat.nlink < 2 {
            return make().map(Made::New);
        }
        // Held while the entry is made, so that nobody links to a name that is not there yet.
        let mut links = lock(&self.links);
        let inode = (stat.dev, stat.ino);
        if let Some(linked) = links.get_mut(&inode) {
            let parent = linked.path.parent().unwrap_or(Path::new(""));
            let base = linked.path.file_name().expect("paths of files have names");
            let linked_now = dir::open_deep(self.root.as_fd(), parent).and_then(|parent| {
                Ok(rustix::fs::linkat(
                    parent,
                    base,
                    place.dst,
                    name,
                    AtFlags::empty(),
                )?)
            });
            match linked_now {
                Ok(()) => {
                    linked.left -= 1;
                    if linked.left == 0 {
                        links.remove(&inode);
                    }
                    return Ok(Made::Link);
                }
                // As many names as the target's filesystem can give: the next ones link to a second copy.
                Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {}
                Err(error) => return Err(place.write_error(name, error)),
            }
        }
        let made = make()?;
        links.insert(
            inode,
            Linked {
                path: place.path.join(name),
                left: stat.nlink - 1,
            },
        );
        Ok(Made::New(made))
    }
}

/// Whoever brings the copy up to date copies it.
fn leave_out(place: Place<'_>, name: &OsStr, stat: &Stat) -> Result<(), CopyError> {
    match place.noted {
        Some(noted) if stat.nlink < 2 => {
            noted.leave_out();
            Ok(())
        }
        _ => Err(CopyError::Restless {
            path: place.path.join(name),
        }),
    }
}

enum Made<T> {
    New(T),
    Link,
}

/// Opens a file of the source; `None` when it has vanished.
fn open_file(place: Place<'_>, name: &OsStr) -> Result<Option<(OwnedFd, Stat)>, CopyError> {
    // NONBLOCK: it may have become a fifo since it was looked at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(place.src, name, flags, Mode::empty());
    let opened = match open(flags | OFlags::NOATIME) {
        // Only the owner may leave the access time alone.
        Err(Errno::PERM) => open(flags),
        other => other,
    };
    match opened {
        Ok(file) => {
            let stat = dir::stat(file.as_fd()).map_err(|error| place.read_error(name, error))?;
            if stat.kind() != FileType::RegularFile {
                return Err(place.read_error(name, Errno::STALE));
            }
            Ok(Some((file, stat)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(place.read_error(name, error)),
    }
}

fn create(place: Place<'_>, name: &OsStr) -> Result<OwnedFd, CopyError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(place.dst, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|error| place.write_error(name, error))
}

/// Makes a symbolic link, device, fifo or socket.
fn special(place: Place<'_>, name: &OsStr, stat: &Stat) -> Result<(), CopyError> {
    let made = if stat.kind() == FileType::Symlink {
        let target = dir::read_link_at(place.src, name).map_err(|error| {
            // No link any more.
            let replaced = error.kind() == io::ErrorKind::InvalidInput;
            place.read_error(name, if replaced { Errno::STALE.into() } else { error })
        })?;
        rustix::fs::symlinkat(&target, place.dst, name)
    } else {
        rustix::fs::mknodat(
            place.dst,
            name,
            stat.kind(),
            Mode::from_raw_mode(0o600),
            stat.rdev,
        )
    };
    made.map_err(|error| place.write_error(name, error))
}

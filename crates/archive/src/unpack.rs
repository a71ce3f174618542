//! Unpacks a hostile tar stream into a directory.
//!
//! Guarantees: nothing outside the target directory is made, changed, removed or linked, whatever names, links and types
//! the members have, as every path is resolved by the kernel inside the target; members with `..` in their names are
//! refused. A later member replaces an earlier one. Modes and times of directories are those of the archive, although
//! things were put into them. After an error a part of the archive is there. Nothing is synced.
//!
//! Steps for each member: 1. its name is cleaned and its parent directory found or made; 2. it is made under its name,
//! after removing what has the name already; 3. it gets owner, attributes, mode and times; for directories this waits
//! until after the last member.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::dir;
use sys::xattr::{self, Subject};

use crate::reader::{Kind, Member, Members, ReadError};
use crate::restore::{Attributes, Directories, Parents};
use crate::sparse::Piece;
use crate::{AUFS_PREFIX, OPAQUE_ATTRIBUTE, OPAQUE_MARK, WHITEOUT_PREFIX};

const BUFFER: usize = 128 * 1024;
/// What the kernel takes as one path.
const LONGEST_PATH: usize = 4095;

/// What to do with the names by which image layers mark deletions (`.wh.x`, `.wh..wh..opq`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnpackWhiteouts {
    /// They are names like others.
    #[default]
    Literal,
    /// They become the marks of overlay mounts: the target is to be a layer.
    ToOverlay,
}

/// What to do with device nodes and fifos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    #[default]
    Allow,
    /// Leave them out.
    Skip,
    /// They are an error.
    Refuse,
}

/// Whom the files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// Whom the archive says, by number.
    #[default]
    Keep,
    Fixed(u32, u32),
}

/// Where unpacking stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Contents of files, holes excluded.
    pub max_bytes: u64,
    pub max_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: u64::MAX,
            max_entries: u64::MAX,
        }
    }
}

/// Members at or below `from` go to `to` instead; others stay where they are.
#[derive(Debug, Clone, Default)]
pub struct Rename {
    pub from: PathBuf,
    pub to: PathBuf,
}

/// How to unpack.
#[derive(Clone, Default)]
pub struct UnpackOptions<'a> {
    pub whiteouts: UnpackWhiteouts,
    pub devices: Devices,
    pub owner: Owner,
    pub limits: Limits,
    /// A directory never gives way to something else, nor anything else to a directory.
    pub no_overwrite_dir_non_dir: bool,
    pub rename: Option<Rename>,
    /// Called after each member and now and then in large ones.
    pub progress: Option<&'a (dyn Fn(Unpacked) + Sync)>,
}

impl std::fmt::Debug for UnpackOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnpackOptions")
            .field("whiteouts", &self.whiteouts)
            .field("devices", &self.devices)
            .field("owner", &self.owner)
            .field("limits", &self.limits)
            .field("no_overwrite_dir_non_dir", &self.no_overwrite_dir_non_dir)
            .field("rename", &self.rename)
            .finish_non_exhaustive()
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Members, those that were skipped included.
    pub entries: u64,
    /// Contents of files, holes excluded.
    pub bytes: u64,
    /// Members that were left out: devices, names that only AUFS needs.
    pub skipped: u64,
}

/// Why an archive could not be unpacked. Paths are relative to the target.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] ReadError),
    #[error("path {} of the archive leads out of its directory", path.display())]
    Outside { path: PathBuf },
    #[error("a path of the archive is not usable: {}", path.display())]
    Name { path: PathBuf },
    #[error("cannot link {} to {}", path.display(), target.display())]
    HardLink {
        path: PathBuf,
        target: PathBuf,
        source: io::Error,
    },
    #[error("cannot overwrite directory {path:?} with non-directory {path:?}")]
    DirectoryInTheWay { path: PathBuf },
    #[error("cannot overwrite non-directory {path:?} with directory {path:?}")]
    NonDirectoryInTheWay { path: PathBuf },
    #[error("{} is a device or fifo, which is not allowed here", path.display())]
    Device { path: PathBuf },
    #[error("the archive holds more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the archive holds more than {limit} entries")]
    TooMany { limit: u64 },
    #[error("cannot write {}", shown(path))]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "cannot set owner, mode, times or extended attributes of {}",
        shown(path)
    )]
    Attributes { path: PathBuf, source: io::Error },
}

impl UnpackError {
    /// What the operating system said, to tell a full disk from a bad archive.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Archive(ReadError::Io { source })
            | Self::HardLink { source, .. }
            | Self::Write { source, .. }
            | Self::Attributes { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    if path.as_os_str().is_empty() {
        Path::new(".").display()
    } else {
        path.display()
    }
}

/// Unpacks the plain tar stream `reader` into the directory `root`.
///
/// Reads up to the end of the archive and perhaps somewhat beyond; what follows it is the caller's.
///
/// # Errors
/// See [`UnpackError`]; what was unpacked before stays.
pub fn unpack(
    reader: impl Read,
    root: BorrowedFd<'_>,
    options: &UnpackOptions<'_>,
) -> Result<Unpacked, UnpackError> {
    let target = |source| UnpackError::Write {
        path: PathBuf::new(),
        source,
    };
    let root = dir::open_at(root, OsStr::new(".")).map_err(target)?;
    let mut unpacking = Unpacking {
        members: Members::new(BufReader::with_capacity(BUFFER, reader)),
        root: root.as_fd(),
        options,
        parents: Parents::new(
            root.as_fd(),
            options.whiteouts == UnpackWhiteouts::ToOverlay,
        ),
        directories: Directories::default(),
        done: Unpacked::default(),
        buffer: vec![0; BUFFER],
    };
    while let Some(member) = unpacking.members.next()? {
        unpacking.count()?;
        unpacking.member(&member)?;
        unpacking.report();
    }
    unpacking
        .directories
        .finish(root.as_fd())
        .map_err(|(path, source)| UnpackError::Attributes { path, source })?;
    Ok(unpacking.done)
}

struct Unpacking<'a, R> {
    members: Members<R>,
    root: BorrowedFd<'a>,
    options: &'a UnpackOptions<'a>,
    parents: Parents<'a>,
    directories: Directories,
    done: Unpacked,
    buffer: Vec<u8>,
}

/// Where a member goes.
struct Spot<'p> {
    parent: Rc<OwnedFd>,
    name: &'p OsStr,
    path: &'p Path,
}

impl Spot<'_> {
    fn write_error(&self, source: impl Into<io::Error>) -> UnpackError {
        UnpackError::Write {
            path: self.path.to_owned(),
            source: source.into(),
        }
    }
}

impl<R: Read> Unpacking<'_, R> {
    fn report(&self) {
        if let Some(progress) = self.options.progress {
            progress(self.done);
        }
    }

    fn count(&mut self) -> Result<(), UnpackError> {
        self.done.entries += 1;
        let limit = self.options.limits.max_entries;
        if self.done.entries > limit {
            return Err(UnpackError::TooMany { limit });
        }
        Ok(())
    }

    fn member(&mut self, member: &Member) -> Result<(), UnpackError> {
        let path = self.place(&member.name)?;
        let Some(name) = path.file_name() else {
            return self.root_member(member);
        };
        if self.options.whiteouts == UnpackWhiteouts::ToOverlay {
            let is_bookkeeping = |step: &OsStr| {
                step.as_bytes().starts_with(AUFS_PREFIX) && step.as_bytes() != OPAQUE_MARK
            };
            if path.iter().any(is_bookkeeping) {
                self.done.skipped += 1;
                return Ok(());
            }
            if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
                return self.whiteout(&path, name);
            }
        }
        let special = matches!(member.kind, Kind::Character | Kind::Block | Kind::Fifo);
        if special && self.options.devices == Devices::Refuse {
            return Err(UnpackError::Device { path });
        }
        if special && self.options.devices == Devices::Skip {
            self.done.skipped += 1;
            return Ok(());
        }
        let spot = self.spot(&path, name)?;
        match member.kind {
            Kind::File => self.file(&spot, member),
            Kind::Directory => self.directory(&spot, member),
            Kind::HardLink => self.hard_link(&spot, member),
            Kind::Symlink => {
                let target = OsStr::from_bytes(&member.link);
                let dir = spot.parent.as_fd();
                self.replacing(&spot, || rustix::fs::symlinkat(target, dir, spot.name))?;
                self.entry_attributes(&spot, member, FileType::Symlink)
            }
            Kind::Character => self.node(&spot, member, FileType::CharacterDevice),
            Kind::Block => self.node(&spot, member, FileType::BlockDevice),
            Kind::Fifo => self.node(&spot, member, FileType::Fifo),
        }
    }

    /// The path in the target for a name in the archive: relative, without `.` and `..`.
    fn place(&self, name: &[u8]) -> Result<PathBuf, UnpackError> {
        let given = || PathBuf::from(OsStr::from_bytes(&name[..name.len().min(LONGEST_PATH)]));
        let mut path = PathBuf::new();
        for step in name.split(|byte| *byte == b'/') {
            match step {
                b"" | b"." => {}
                b".." => return Err(UnpackError::Outside { path: given() }),
                step => path.push(OsStr::from_bytes(step)),
            }
        }
        if let Some(rename) = &self.options.rename
            && let Ok(below) = path.strip_prefix(&rename.from)
        {
            // Joining nothing would add a slash.
            path = rename.to.iter().chain(below.iter()).collect();
        }
        if name.contains(&0) || path.as_os_str().len() > LONGEST_PATH {
            return Err(UnpackError::Name { path: given() });
        }
        Ok(path)
    }

    fn spot<'p>(&mut self, path: &'p Path, name: &'p OsStr) -> Result<Spot<'p>, UnpackError> {
        let above = path.parent().unwrap_or(Path::new(""));
        let parent = self
            .parents
            .open(above)
            .map_err(|source| UnpackError::Write {
                path: path.to_owned(),
                source,
            })?;
        Ok(Spot { parent, name, path })
    }

    /// `./`: the attributes of the target itself.
    fn root_member(&mut self, member: &Member) -> Result<(), UnpackError> {
        if member.kind != Kind::Directory {
            return Err(UnpackError::Name {
                path: OsStr::from_bytes(&member.name).into(),
            });
        }
        let attributes = self.attributes(member);
        self.directories
            .add(PathBuf::new(), self.root, attributes)
            .map_err(|source| UnpackError::Attributes {
                path: PathBuf::new(),
                source,
            })
    }

    fn attributes(&self, member: &Member) -> Attributes {
        let (uid, gid) = match self.options.owner {
            Owner::Keep => (member.uid, member.gid),
            Owner::Fixed(uid, gid) => (uid, gid),
        };
        Attributes {
            uid,
            gid,
            mode: member.mode,
            mtime: member.mtime,
            atime: member.atime,
            extended: member.attributes.clone(),
        }
    }

    /// Runs `make`; if the name is taken, removes what has it and runs `make` again.
    fn replacing<T>(
        &mut self,
        spot: &Spot<'_>,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, UnpackError> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(spot)?;
                make()
            }
            other => other,
        }
        .map_err(|error| spot.write_error(error))
    }

    /// Removes what is at `spot`, to be replaced by anything but a directory.
    fn clear(&mut self, spot: &Spot<'_>) -> Result<(), UnpackError> {
        let dir = spot.parent.as_fd();
        let stat = dir::stat_at(dir, spot.name).map_err(|error| spot.write_error(error))?;
        if stat.kind() == FileType::Directory {
            if self.options.no_overwrite_dir_non_dir {
                return Err(UnpackError::DirectoryInTheWay {
                    path: spot.path.to_owned(),
                });
            }
            dir::remove_tree_at(dir, spot.name).map_err(|error| spot.write_error(error))?;
        } else {
            rustix::fs::unlinkat(dir, spot.name, AtFlags::empty())
                .map_err(|error| spot.write_error(error))?;
        }
        // Paths may have led through what is gone.
        self.parents.forget();
        Ok(())
    }

    fn file(&mut self, spot: &Spot<'_>, member: &Member) -> Result<(), UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = spot.parent.as_fd();
        let file = self.replacing(spot, || {
            rustix::fs::openat(dir, spot.name, flags, Mode::from_raw_mode(0o600))
        })?;
        match &member.pieces {
            None => self.write(
                spot,
                &file,
                Piece {
                    offset: 0,
                    length: member.size,
                },
            )?,
            Some(pieces) => {
                for piece in pieces {
                    self.write(spot, &file, *piece)?;
                }
                rustix::fs::ftruncate(&file, member.size)
                    .map_err(|error| spot.write_error(error))?;
            }
        }
        self.attributes(member)
            .set_open(file.as_fd(), FileType::RegularFile)
            .map_err(|source| UnpackError::Attributes {
                path: spot.path.to_owned(),
                source,
            })
    }

    /// Moves data of the current member into the file.
    fn write(&mut self, spot: &Spot<'_>, file: &OwnedFd, piece: Piece) -> Result<(), UnpackError> {
        let limit = self.options.limits.max_bytes;
        let mut at = piece.offset;
        while at < piece.end() {
            let length = usize::try_from(piece.end() - at)
                .unwrap_or(BUFFER)
                .min(BUFFER);
            let read = self.members.read(&mut self.buffer[..length])?;
            if read == 0 {
                return Err(ReadError::Truncated.into());
            }
            self.done.bytes += read as u64;
            if self.done.bytes > limit {
                return Err(UnpackError::TooLarge { limit });
            }
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                match rustix::io::pwrite(file, rest, at) {
                    Ok(0) => return Err(spot.write_error(io::ErrorKind::WriteZero)),
                    Ok(written) => {
                        rest = &rest[written..];
                        at += written as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(spot.write_error(error)),
                }
            }
            if at % (4 << 20) < BUFFER as u64 {
                self.report();
            }
        }
        Ok(())
    }

    fn directory(&mut self, spot: &Spot<'_>, member: &Member) -> Result<(), UnpackError> {
        let dir = spot.parent.as_fd();
        let make = || rustix::fs::mkdirat(dir, spot.name, Mode::from_raw_mode(0o700));
        let mut was_deleted = false;
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = dir::stat_at(dir, spot.name).map_err(|error| spot.write_error(error))?;
                if stat.kind() != FileType::Directory {
                    was_deleted =
                        self.options.whiteouts == UnpackWhiteouts::ToOverlay && stat.is_whiteout();
                    if self.options.no_overwrite_dir_non_dir && !was_deleted {
                        return Err(UnpackError::NonDirectoryInTheWay {
                            path: spot.path.to_owned(),
                        });
                    }
                    self.clear(spot)?;
                    make().map_err(|error| spot.write_error(error))?;
                }
            }
            Err(error) => return Err(spot.write_error(error)),
        }
        let opened = dir::open_at(dir, spot.name).map_err(|error| spot.write_error(error))?;
        if was_deleted {
            // The layers below still have the directory that this layer deletes before making its own.
            make_opaque(opened.as_fd()).map_err(|error| spot.write_error(error))?;
        }
        let attributes = self.attributes(member);
        self.directories
            .add(spot.path.to_owned(), opened.as_fd(), attributes)
            .map_err(|source| UnpackError::Attributes {
                path: spot.path.to_owned(),
                source,
            })?;
        self.parents.remember(spot.path, opened);
        Ok(())
    }

    fn hard_link(&mut self, spot: &Spot<'_>, member: &Member) -> Result<(), UnpackError> {
        let target = self.place(&member.link)?;
        let failed = |source: io::Error| UnpackError::HardLink {
            path: spot.path.to_owned(),
            target: target.clone(),
            source,
        };
        let Some(target_name) = target.file_name() else {
            return Err(failed(Errno::PERM.into()));
        };
        let above = target.parent().unwrap_or(Path::new(""));
        // Not made when it is missing: a link to nothing must not leave directories behind.
        let target_dir = self.parents.find(above).map_err(failed)?;
        let stat = dir::stat_at(target_dir.as_fd(), target_name).map_err(failed)?;
        let dir = spot.parent.as_fd();
        let link =
            || rustix::fs::linkat(&target_dir, target_name, dir, spot.name, AtFlags::empty());
        match link() {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let taken = dir::stat_at(dir, spot.name).map_err(|error| spot.write_error(error))?;
        if (taken.dev, taken.ino) == (stat.dev, stat.ino) {
            return Ok(());
        }
        self.clear(spot)?;
        link().map_err(|error| failed(error.into()))
    }

    fn node(
        &mut self,
        spot: &Spot<'_>,
        member: &Member,
        kind: FileType,
    ) -> Result<(), UnpackError> {
        let device = rustix::fs::makedev(member.device.0, member.device.1);
        let dir = spot.parent.as_fd();
        let mode = Mode::from_raw_mode(0o600);
        self.replacing(spot, || {
            rustix::fs::mknodat(dir, spot.name, kind, mode, device)
        })?;
        self.entry_attributes(spot, member, kind)
    }

    fn entry_attributes(
        &self,
        spot: &Spot<'_>,
        member: &Member,
        kind: FileType,
    ) -> Result<(), UnpackError> {
        self.attributes(member)
            .set_entry(spot.parent.as_fd(), spot.name, kind)
            .map_err(|source| UnpackError::Attributes {
                path: spot.path.to_owned(),
                source,
            })
    }

    /// `.wh.x` deletes `x` of the layers below, and never what this layer has.
    fn whiteout(&mut self, path: &Path, name: &OsStr) -> Result<(), UnpackError> {
        let spot = self.spot(path, name)?;
        let dir = spot.parent.as_fd();
        if name.as_bytes() == OPAQUE_MARK {
            return make_opaque(dir).map_err(|error| spot.write_error(error));
        }
        let hidden = &name.as_bytes()[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Name {
                path: path.to_owned(),
            });
        }
        let hidden = OsString::from(OsStr::from_bytes(hidden));
        let made = rustix::fs::mknodat(
            dir,
            &hidden,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0),
            0,
        );
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let stat = dir::stat_at(dir, &hidden).map_err(|error| spot.write_error(error))?;
                if stat.kind() == FileType::Directory {
                    let below = dir::open_at(dir, &hidden);
                    return below
                        .and_then(|below| make_opaque(below.as_fd()))
                        .map_err(|error| spot.write_error(error));
                }
                Ok(())
            }
            Err(error) => Err(spot.write_error(error)),
        }
    }
}

pub(crate) fn make_opaque(dir: BorrowedFd<'_>) -> io::Result<()> {
    xattr::set(Subject::Open(dir), OsStr::new(OPAQUE_ATTRIBUTE), b"y")
}

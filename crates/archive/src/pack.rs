//! Packs a directory tree, or a part of it, into a tar stream that GNU tar, bsdtar and Docker read.
//!
//! Names are sorted within each directory and owners numeric, so the same tree gives the same bytes. Kept: modes, owners,
//! nanosecond times, links between packed files, holes, devices, extended attributes and ACLs. Sockets are left out, as
//! archives have no such type. A file that changes meanwhile is packed with the length that it had when it was opened.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::descent::{Descent, Mounts};
use sys::dir::{self, Stat};
use sys::xattr::Subject;

use crate::extended::{self, Found};
use crate::sparse::{self, Piece};
use crate::writer::{Entry, Stream};
use crate::{OPAQUE_MARK, WHITEOUT_PREFIX};

const BUFFER: usize = 128 * 1024;
/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// What to do with the marks that overlay mounts make in their upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackWhiteouts {
    /// They are device nodes like others.
    #[default]
    Literal,
    /// They become the names that image layers have for them (`.wh.x`, `.wh..wh..opq`).
    ToAufs,
}

/// Whether an entry is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Take,
    /// Not it, and nothing below it.
    Leave,
    /// A directory that is not packed itself, but something below it may be.
    Look,
}

/// Is told the path in the archive of each entry.
pub type Choose<'a> = &'a (dyn Fn(&Path) -> Choice + Sync);

/// What to pack, and how.
#[derive(Clone, Default)]
pub struct PackOptions<'a> {
    /// What to pack, resolved inside the root; nothing for all of it.
    pub path: PathBuf,
    /// If `path` is a symbolic link, pack what it points to.
    pub follow: bool,
    /// The name of what is packed; without it, the last name of `path`.
    pub name: Option<PathBuf>,
    /// When all is packed without a name: begin with an entry `./` for the root itself.
    pub root_entry: bool,
    pub whiteouts: PackWhiteouts,
    /// What the archive says of itself, for [`crate::annotations`].
    pub annotations: &'a [(Vec<u8>, Vec<u8>)],
    /// Directories on which something is mounted are packed without their contents.
    pub one_file_system: bool,
    /// Decides what is packed; without it, everything.
    pub choose: Option<Choose<'a>>,
    /// Everything belongs to root.
    pub as_root: bool,
    /// Called after each entry and now and then in large ones.
    pub progress: Option<&'a (dyn Fn(Packed) + Sync)>,
}

impl std::fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackOptions")
            .field("path", &self.path)
            .field("follow", &self.follow)
            .field("name", &self.name)
            .field("root_entry", &self.root_entry)
            .field("whiteouts", &self.whiteouts)
            .field("one_file_system", &self.one_file_system)
            .field("as_root", &self.as_root)
            .finish_non_exhaustive()
    }
}

/// What was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    pub entries: u64,
    /// Length of the archive.
    pub bytes: u64,
    /// Contents of files, holes excluded.
    pub contents: u64,
    /// Sockets, and names that a layer cannot have.
    pub skipped: u64,
    /// Files that became shorter while they were packed; zeros stand for what was missing.
    pub cut: u64,
}

/// Why a tree could not be packed. Paths are relative to the root.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read {}", shown(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the archive")]
    Write { source: io::Error },
    /// Made by an overlay mount with `metacopy` or `redirect_dir`.
    #[error("{} is not complete without the layers below", path.display())]
    Partial { path: PathBuf },
}

fn shown(path: &Path) -> std::path::Display<'_> {
    if path.as_os_str().is_empty() {
        Path::new("/").display()
    } else {
        path.display()
    }
}

/// Packs what `options` say of the tree below `root`. The archive is complete, with its end, and flushed.
///
/// # Errors
/// `NotFound` inside [`PackError::Read`] when there is no such path; then nothing was written.
pub fn pack(
    root: BorrowedFd<'_>,
    writer: impl Write,
    options: &PackOptions<'_>,
) -> Result<Packed, PackError> {
    let mut writer = writer;
    let top = Top::find(root, options).map_err(|source| PackError::Read {
        path: options.path.clone(),
        source,
    })?;
    let mut packing = Packing {
        out: Stream::new(&mut writer as &mut dyn Write),
        options,
        links: HashMap::new(),
        done: Packed::default(),
        buffer: vec![0; BUFFER],
    };
    if !options.annotations.is_empty() {
        packing
            .out
            .global(options.annotations)
            .map_err(|source| PackError::Write { source })?;
    }
    match top {
        Top::Directory { opened, name } => packing.tree(opened.as_fd(), name)?,
        Top::Entry { parent, base, name } => {
            let place = Place {
                dir: parent.as_fd(),
                base: &base,
                name,
            };
            packing.entry(&place)?;
        }
    }
    let Packing { out, mut done, .. } = packing;
    done.bytes = out.finish().map_err(|source| PackError::Write { source })?;
    Ok(done)
}

/// What the archive begins with.
enum Top {
    Directory {
        opened: OwnedFd,
        name: Vec<u8>,
    },
    Entry {
        parent: OwnedFd,
        base: OsString,
        name: Vec<u8>,
    },
}

impl Top {
    fn find(root: BorrowedFd<'_>, options: &PackOptions<'_>) -> io::Result<Self> {
        let given = options
            .name
            .as_ref()
            .map(|name| name.as_os_str().as_bytes().to_vec());
        let mut path = options.path.clone();
        for _ in 0..MOST_LINKS {
            let Some(last) = path.file_name() else {
                let opened = dir::open_in_root(root, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                return Ok(Self::Directory {
                    opened,
                    name: given.unwrap_or_default(),
                });
            };
            let own = options.path.file_name().unwrap_or(last).as_bytes().to_vec();
            let (parent, base) = dir::resolve_in_root(root, &path)?;
            match dir::stat_at(parent.as_fd(), &base)?.kind() {
                FileType::Directory => {
                    let opened = dir::open_at(parent.as_fd(), &base)?;
                    return Ok(Self::Directory {
                        opened,
                        name: given.unwrap_or(own),
                    });
                }
                FileType::Symlink if options.follow => {
                    let target = PathBuf::from(dir::read_link_at(parent.as_fd(), &base)?);
                    // Joining an absolute target begins at the root again.
                    path = path.parent().unwrap_or(Path::new("")).join(target);
                }
                _ => {
                    return Ok(Self::Entry {
                        parent,
                        base,
                        name: given.unwrap_or(own),
                    });
                }
            }
        }
        Err(Errno::LOOP.into())
    }
}

struct Packing<'a> {
    out: Stream<&'a mut dyn Write>,
    options: &'a PackOptions<'a>,
    /// Inodes with several names: under which one the file is in the archive.
    links: HashMap<(u64, u64), Vec<u8>>,
    done: Packed,
    buffer: Vec<u8>,
}

/// An entry of a directory and its name in the archive.
struct Place<'p> {
    dir: BorrowedFd<'p>,
    base: &'p OsStr,
    name: Vec<u8>,
}

impl Place<'_> {
    fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.name))
    }

    fn read_error(&self, source: impl Into<io::Error>) -> PackError {
        PackError::Read {
            path: self.path(),
            source: source.into(),
        }
    }
}

impl Packing<'_> {
    /// Packs a directory and all below it; without a name, what is below it.
    fn tree(&mut self, top: BorrowedFd<'_>, name: Vec<u8>) -> Result<(), PackError> {
        let failed = |path: &[u8], source| PackError::Read {
            path: OsStr::from_bytes(path).into(),
            source,
        };
        let mounts = if self.options.one_file_system {
            Mounts::Refuse
        } else {
            Mounts::Cross
        };
        let mut walk = Descent::new(top, mounts).map_err(|source| failed(&name, source))?;
        if !name.is_empty() || self.options.root_entry {
            self.directory(walk.dir(), if name.is_empty() { b"." } else { &name })?;
        }
        let mut prefix = name;
        // Names still to pack for each directory on the way, next one last.
        let mut ahead = vec![names(walk.dir()).map_err(|source| failed(&prefix, source))?];
        // Lengths of the prefix above each of them.
        let mut lengths = Vec::new();
        while let Some(entries) = ahead.last_mut() {
            let Some(entry) = entries.pop() else {
                ahead.pop();
                if let Some(length) = lengths.pop() {
                    walk.leave().map_err(|source| failed(&prefix, source))?;
                    prefix.truncate(length);
                }
                continue;
            };
            let mut name = prefix.clone();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(entry.name.as_bytes());
            let choice = self.choice(&name);
            if choice == Choice::Leave
                || (choice == Choice::Look && entry.kind != FileType::Directory)
            {
                continue;
            }
            if entry.kind != FileType::Directory {
                self.entry(&Place {
                    dir: walk.dir(),
                    base: &entry.name,
                    name,
                })?;
                continue;
            }
            match walk.enter(&entry.name) {
                Ok(()) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    // Removed, or replaced, since the directory was read.
                    Some(Errno::NOENT) => continue,
                    Some(Errno::NOTDIR | Errno::LOOP) => {
                        self.entry(&Place {
                            dir: walk.dir(),
                            base: &entry.name,
                            name,
                        })?;
                        continue;
                    }
                    Some(Errno::XDEV) => {
                        let mounted = dir::open_at(walk.dir(), &entry.name)
                            .map_err(|source| failed(&name, source))?;
                        self.directory(mounted.as_fd(), &name)?;
                        continue;
                    }
                    _ => return Err(failed(&name, error)),
                },
            }
            if choice == Choice::Take {
                self.directory(walk.dir(), &name)?;
            }
            ahead.push(names(walk.dir()).map_err(|source| failed(&name, source))?);
            lengths.push(prefix.len());
            prefix = name;
        }
        Ok(())
    }

    fn choice(&self, name: &[u8]) -> Choice {
        self.options.choose.map_or(Choice::Take, |choose| {
            choose(Path::new(OsStr::from_bytes(name)))
        })
    }

    fn count(&mut self) {
        self.done.entries += 1;
        self.report();
    }

    fn report(&self) {
        if let Some(progress) = self.options.progress {
            progress(Packed {
                bytes: self.out.written(),
                ..self.done
            });
        }
    }

    fn check(&self, found: &Found, path: impl FnOnce() -> PathBuf) -> Result<(), PackError> {
        if found.is_partial && self.options.whiteouts == PackWhiteouts::ToAufs {
            return Err(PackError::Partial { path: path() });
        }
        Ok(())
    }

    fn directory(&mut self, opened: BorrowedFd<'_>, name: &[u8]) -> Result<(), PackError> {
        let path = || PathBuf::from(OsStr::from_bytes(name));
        let failed = |source| PackError::Read {
            path: path(),
            source,
        };
        let stat = dir::stat(opened).map_err(failed)?;
        let found = extended::read(Subject::Open(opened)).map_err(failed)?;
        self.check(&found, path)?;
        let slashed = [name, b"/"].concat();
        self.header(&slashed, b'5', &stat, 0, b"", &found.records)?;
        if found.is_opaque && self.options.whiteouts == PackWhiteouts::ToAufs {
            let mark = [&slashed, OPAQUE_MARK].concat();
            let stat = Stat {
                mode: 0o600,
                ..stat
            };
            self.header(&mark, b'0', &stat, 0, b"", &[])?;
        }
        self.count();
        Ok(())
    }

    /// Packs anything but a directory.
    fn entry(&mut self, place: &Place<'_>) -> Result<(), PackError> {
        let stat = match dir::stat_at(place.dir, place.base) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(place.read_error(error)),
        };
        if self.options.whiteouts == PackWhiteouts::ToAufs {
            if stat.is_whiteout() {
                let (directory, base) = place
                    .name
                    .split_at(place.name.len() - place.base.as_bytes().len());
                let mark = [directory, WHITEOUT_PREFIX, base].concat();
                let stat = Stat {
                    mode: 0o600,
                    ..stat
                };
                self.header(&mark, b'0', &stat, 0, b"", &[])?;
                self.count();
                return Ok(());
            }
            // In a layer such a name would delete another one.
            if place.base.as_bytes().starts_with(WHITEOUT_PREFIX) {
                self.done.skipped += 1;
                return Ok(());
            }
        }
        if stat.kind() == FileType::Socket {
            self.done.skipped += 1;
            return Ok(());
        }
        if stat.nlink > 1
            && let Some(first) = self.links.get(&(stat.dev, stat.ino))
        {
            let first = first.clone();
            self.header(&place.name, b'1', &stat, 0, &first, &[])?;
            self.count();
            return Ok(());
        }
        let packed = match stat.kind() {
            FileType::RegularFile => self.file(place)?,
            FileType::Symlink => {
                match dir::read_link_at(place.dir, place.base) {
                    Ok(target) => self.node(place, b'2', &stat, target.as_bytes())?,
                    // It is no link any more.
                    Err(error)
                        if sys::is_gone(&error) || error.kind() == io::ErrorKind::InvalidInput =>
                    {
                        false
                    }
                    Err(error) => return Err(place.read_error(error)),
                }
            }
            FileType::CharacterDevice => self.node(place, b'3', &stat, b"")?,
            FileType::BlockDevice => self.node(place, b'4', &stat, b"")?,
            FileType::Fifo => self.node(place, b'6', &stat, b"")?,
            _ => false,
        };
        if packed {
            if stat.nlink > 1 {
                self.links.insert((stat.dev, stat.ino), place.name.clone());
            }
            self.count();
        }
        Ok(())
    }

    /// False when it has vanished.
    fn node(
        &mut self,
        place: &Place<'_>,
        kind: u8,
        stat: &Stat,
        link: &[u8],
    ) -> Result<bool, PackError> {
        let found = match extended::read(Subject::Entry(place.dir, place.base)) {
            Err(error) if sys::is_gone(&error) => return Ok(false),
            other => other.map_err(|error| place.read_error(error))?,
        };
        self.header(&place.name, kind, stat, 0, link, &found.records)?;
        Ok(true)
    }

    /// False when the file has vanished, or something else has its name.
    fn file(&mut self, place: &Place<'_>) -> Result<bool, PackError> {
        // NONBLOCK: it may have become a fifo since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(place.dir, place.base, flags, Mode::empty()) {
            Ok(file) => file,
            Err(error) if sys::is_gone(&error.into()) => return Ok(false),
            Err(error) => return Err(place.read_error(error)),
        };
        let stat = dir::stat(file.as_fd()).map_err(|error| place.read_error(error))?;
        if stat.kind() != FileType::RegularFile {
            return Ok(false);
        }
        let found =
            extended::read(Subject::Open(file.as_fd())).map_err(|error| place.read_error(error))?;
        self.check(&found, || place.path())?;
        let pieces = if stat.blocks.saturating_mul(512) < stat.size {
            sparse::of_file(file.as_fd(), stat.size).map_err(|error| place.read_error(error))?
        } else {
            None
        };
        match pieces {
            None => {
                self.header(&place.name, b'0', &stat, stat.size, b"", &found.records)?;
                let whole = Piece {
                    offset: 0,
                    length: stat.size,
                };
                self.contents(place, &file, &[whole], 0)?;
            }
            Some(pieces) => self.sparse(place, &file, &stat, &pieces, found.records)?,
        }
        Ok(true)
    }

    /// The PAX format 1.0: readers that do not know it find the map and the data under another name.
    fn sparse(
        &mut self,
        place: &Place<'_>,
        file: &OwnedFd,
        stat: &Stat,
        pieces: &[Piece],
        mut records: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), PackError> {
        let map = sparse::to_map(pieces);
        let data: u64 = pieces.iter().map(|piece| piece.length).sum();
        let size = map.len() as u64 + data;
        for (key, value) in [
            ("major", b"1".to_vec()),
            ("minor", b"0".to_vec()),
            ("name", place.name.clone()),
            ("realsize", stat.size.to_string().into_bytes()),
        ] {
            records.push((format!("GNU.sparse.{key}").into_bytes(), value));
        }
        let (directory, base) = place
            .name
            .split_at(place.name.len() - place.base.as_bytes().len().min(place.name.len()));
        let other = [directory, b"GNUSparseFile.0/", base].concat();
        self.header(&other, b'0', stat, size, b"", &records)?;
        self.out
            .data(&map)
            .map_err(|source| PackError::Write { source })?;
        self.contents(place, file, pieces, map.len() as u64)
    }

    /// Writes the pieces of the file and fills up the last block; `before` bytes of data are written already.
    fn contents(
        &mut self,
        place: &Place<'_>,
        file: &OwnedFd,
        pieces: &[Piece],
        before: u64,
    ) -> Result<(), PackError> {
        let mut size = before;
        let mut is_cut = false;
        for piece in pieces {
            let mut at = piece.offset;
            while at < piece.end() {
                let most = usize::try_from(piece.end() - at)
                    .unwrap_or(BUFFER)
                    .min(BUFFER);
                let length = match rustix::io::pread(file, &mut self.buffer[..most], at) {
                    Ok(0) => {
                        is_cut = true;
                        self.buffer[..most].fill(0);
                        most
                    }
                    Ok(length) => length,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(place.read_error(error)),
                };
                self.out
                    .data(&self.buffer[..length])
                    .map_err(|source| PackError::Write { source })?;
                at += length as u64;
                if at % (4 << 20) < BUFFER as u64 {
                    self.report();
                }
            }
            size += piece.length;
        }
        self.done.contents += size - before;
        self.done.cut += u64::from(is_cut);
        self.out
            .pad(size)
            .map_err(|source| PackError::Write { source })
    }

    fn header(
        &mut self,
        name: &[u8],
        kind: u8,
        stat: &Stat,
        size: u64,
        link: &[u8],
        records: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), PackError> {
        let device = match kind {
            b'3' | b'4' => (rustix::fs::major(stat.rdev), rustix::fs::minor(stat.rdev)),
            _ => (0, 0),
        };
        let entry = Entry {
            kind,
            name,
            link,
            mode: stat.permissions(),
            uid: if self.options.as_root { 0 } else { stat.uid },
            gid: if self.options.as_root { 0 } else { stat.gid },
            size,
            mtime: stat.mtime,
            device,
            records,
        };
        self.out
            .header(&entry)
            .map_err(|source| PackError::Write { source })
    }
}

/// The entries of a directory, last name first.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<dir::Entry>> {
    let mut entries = dir::read_dir(dir)?;
    entries.sort_unstable_by(|one, other| other.name.cmp(&one.name));
    Ok(entries)
}

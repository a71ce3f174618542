//! Copies a directory's contents faithfully: owners, modes, nanosecond times, extended attributes, ACLs, links, devices.
//!
//! Data is shared with the source where the filesystem can (reflink), holes stay holes, and files that share an inode in
//! the source share one in the copy. Attributes that the target's filesystem does not know are dropped, so are the
//! private attributes of overlay mounts (`trusted.overlay.*`).
//!
//! Steps for each directory, several directories at a time: 1. files are copied and directories made, empty and closed
//! to others; 2. the directory gets its own attributes, times last; 3. the directories in it follow. An entry that
//! vanishes from the source meanwhile is left out. After an error, and when it was stopped, the target holds a part of the
//! copy.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use rayon::{Scope, ThreadPool, ThreadPoolBuilder};
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags};
use rustix::io::Errno;

use crate::catch_up::{Noted, Seen};
use crate::copy_attributes::{self, Acl};
use crate::copy_data::{self, Reflink};
use crate::descent::{Descent, Mounts};
use crate::dir::{self, Stat};
use crate::is_gone;
use crate::xattr::{self, Subject};

mod entry;

/// Entries that one task copies.
const BATCH: usize = 128;
/// Batches that may wait; beyond that the thread that reads the directory copies, too.
const MOST_WAITING: usize = 32;
/// Directories this deep are copied by one thread that keeps few of them open.
const DEEP: usize = 64;
const MOST_THREADS: usize = 4;
/// Bytes after which a watcher is told of them at the latest.
const STRIDE: u64 = copy_data::PIECE;

/// How to copy.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// The target directory itself gets the attributes of the source directory.
    pub root_attributes: bool,
    /// Directories on which something is mounted are copied without their contents.
    pub one_file_system: bool,
    /// Small files share their data as well, where that is possible: slower, but the copy takes no room.
    pub share_always: bool,
    /// No file shares its data, so that all of it counts for the copy.
    pub share_never: bool,
    /// Gets what is copied, for [`crate::catch_up`].
    pub seen: Option<&'a Seen>,
    /// Files are left out, and `seen` is told, if somebody may write to them now; large ones are written to disk as they are copied.
    pub only_at_rest: bool,
    /// Told how far the copy is, and asked whether it goes on.
    pub watch: Option<&'a Watch<'a>>,
}

/// Called from several threads, every few MiB and every hundred files, with what was copied since the last call; a break
/// ends the copy with [`CopyError::Stopped`].
pub type Watch<'a> = dyn Fn(Copied) -> ControlFlow<()> + Sync + 'a;

/// A part of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Names.
    pub entries: u64,
    /// What the files take where they were read, as [`dir::tree_size_at`] counts it.
    pub bytes: u64,
}

impl std::fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOptions")
            .field("root_attributes", &self.root_attributes)
            .field("one_file_system", &self.one_file_system)
            .field("share_always", &self.share_always)
            .field("share_never", &self.share_never)
            .field("only_at_rest", &self.only_at_rest)
            .finish_non_exhaustive()
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names, the root excluded.
    pub entries: u64,
    /// Lengths of the files, holes included; a file with several names counts once.
    pub bytes: u64,
}

/// Why a tree could not be copied. Paths are relative to its root.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("cannot read {}", shown(path))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", shown(path))]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot copy the contents of {}", shown(path))]
    Data { path: PathBuf, source: io::Error },
    #[error(
        "cannot copy owner, mode, times or extended attributes of {}",
        shown(path)
    )]
    Attributes { path: PathBuf, source: io::Error },
    /// Whoever watched it wanted no more of it.
    #[error("the copy was stopped")]
    Stopped,
    /// It has several names: one alone cannot be left out.
    #[error("{} is being written to", shown(path))]
    Restless { path: PathBuf },
}

impl CopyError {
    /// The cause, to tell a full disk from other reasons; `None` when nothing of the kernel's is.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Data { source, .. }
            | Self::Attributes { source, .. } => Some(source),
            Self::Stopped | Self::Restless { .. } => None,
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

/// Copies everything in `src` into the empty directory `dst`. Nothing is synced.
///
/// # Errors
/// The first error of any thread; `AlreadyExists` inside [`CopyError::Write`] when `dst` was not empty.
pub fn copy_tree(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    options: &CopyOptions<'_>,
) -> Result<Counts, CopyError> {
    let job = Job::new(src, dst, options)?;
    let root = job.root_directory(src)?;
    POOL.scope(|scope| job.directory(scope, Arc::new(root)));
    let counts = job.end()?;
    if let Some(seen) = options.seen {
        seen.end(src);
    }
    Ok(counts)
}

/// Copies the entries of `src` with these names, and everything in them, into `dst`, which has none of them. The attributes
/// of `dst` itself are left alone. `None` when one of the files has another name elsewhere, to which it would have to be a
/// link.
///
/// # Errors
/// Those of [`copy_tree`].
pub(crate) fn copy_entries(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    names: &[OsString],
    options: &CopyOptions<'_>,
) -> Result<Option<Counts>, CopyError> {
    if names.is_empty() {
        return Ok(Some(Counts::default()));
    }
    let options = CopyOptions {
        root_attributes: false,
        // The paths would be those of another root.
        seen: None,
        only_at_rest: false,
        ..*options
    };
    let job = Job::new(src, dst, &options)?;
    let root = Arc::new(job.root_directory(src)?);
    POOL.scope(|scope| {
        for name in names {
            if let Err(error) = job.chosen(scope, &root, name) {
                job.fail(error);
            }
        }
    });
    let has_all_names = lock(&job.links).is_empty();
    Ok(Some(job.end()?).filter(|_| has_all_names))
}

/// The threads that copy.
pub(crate) fn pool() -> &'static ThreadPool {
    &POOL
}

static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    let threads = thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, MOST_THREADS);
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("copy-{number}"))
        .build()
        .expect("a process may start a few threads")
});

/// One copy.
struct Job<'a> {
    options: &'a CopyOptions<'a>,
    /// The source's mount, when others must not be entered.
    mount: Option<u64>,
    root: OwnedFd,
    acl: Acl,
    reflink: Reflink,
    /// Inodes with several names: where the copy is, and how many names are still to come.
    links: Mutex<HashMap<(u64, u64), Linked>>,
    waiting: AtomicUsize,
    entries: AtomicU64,
    bytes: AtomicU64,
    untold: Untold,
    stopped: AtomicBool,
    failed: Mutex<Option<CopyError>>,
}

struct Linked {
    path: PathBuf,
    left: u64,
}

/// What the watcher does not know of yet.
#[derive(Default)]
struct Untold {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// A directory that several tasks copy.
struct Directory {
    src: OwnedFd,
    dst: OwnedFd,
    path: PathBuf,
    /// What the copy gets at last.
    stat: Option<Stat>,
    depth: usize,
    /// Told what is in it.
    noted: Option<Arc<Noted>>,
    /// Tasks that may still write into `dst`; the last one sets the attributes.
    open_tasks: AtomicUsize,
}

/// A directory for the moment of copying an entry of it.
#[derive(Clone, Copy)]
struct Place<'p> {
    src: BorrowedFd<'p>,
    dst: BorrowedFd<'p>,
    path: &'p Path,
    noted: Option<&'p Noted>,
}

impl Directory {
    fn place(&self) -> Place<'_> {
        Place {
            src: self.src.as_fd(),
            dst: self.dst.as_fd(),
            path: &self.path,
            noted: self.noted.as_deref(),
        }
    }
}

impl Place<'_> {
    fn read_error(&self, name: &OsStr, source: impl Into<io::Error>) -> CopyError {
        CopyError::Read {
            path: self.path.join(name),
            source: source.into(),
        }
    }

    fn write_error(&self, name: &OsStr, source: impl Into<io::Error>) -> CopyError {
        CopyError::Write {
            path: self.path.join(name),
            source: source.into(),
        }
    }
}

impl<'a> Job<'a> {
    fn new(
        src: BorrowedFd<'_>,
        dst: BorrowedFd<'_>,
        options: &'a CopyOptions<'a>,
    ) -> Result<Self, CopyError> {
        let top = |source| CopyError::Read {
            path: PathBuf::new(),
            source,
        };
        let target = |source| CopyError::Write {
            path: PathBuf::new(),
            source,
        };
        let dst = dir::open_at(dst, OsStr::new(".")).map_err(target)?;
        let default_acl = xattr::get(Subject::Open(dst.as_fd()), OsStr::new(xattr::DEFAULT_ACL));
        Ok(Self {
            options,
            mount: if options.one_file_system {
                Some(mount_id(src).map_err(top)?)
            } else {
                None
            },
            acl: if default_acl.map_err(target)?.is_some() {
                Acl::Inherited
            } else {
                Acl::Absent
            },
            root: dst,
            reflink: if options.share_never {
                Reflink::never()
            } else {
                Reflink::new(options.share_always)
            },
            links: Mutex::new(HashMap::new()),
            waiting: AtomicUsize::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            untold: Untold::default(),
            stopped: AtomicBool::new(false),
            failed: Mutex::new(None),
        })
    }

    fn root_directory(&self, src: BorrowedFd<'_>) -> Result<Directory, CopyError> {
        let top = |source| CopyError::Read {
            path: PathBuf::new(),
            source,
        };
        let src = dir::open_at(src, OsStr::new(".")).map_err(top)?;
        let stat = dir::stat(src.as_fd()).map_err(top)?;
        let dst = self.root.try_clone().map_err(|source| CopyError::Write {
            path: PathBuf::new(),
            source,
        })?;
        let noted = self.options.seen.map(|seen| seen.begin(&stat));
        Ok(Directory {
            src,
            dst,
            path: PathBuf::new(),
            stat: self.options.root_attributes.then_some(stat),
            depth: 0,
            noted,
            open_tasks: AtomicUsize::new(1),
        })
    }

    fn end(self) -> Result<Counts, CopyError> {
        self.report();
        let counts = Counts {
            entries: self.entries.into_inner(),
            bytes: self.bytes.into_inner(),
        };
        let is_whole = self.options.only_at_rest || self.reflink.shared_all();
        if let Some(seen) = self.options.seen.filter(|_| !is_whole) {
            seen.spoil();
        }
        match lock(&self.failed).take() {
            Some(error) => Err(error),
            None => Ok(counts),
        }
    }

    fn chosen<'s>(
        &'s self,
        scope: &Scope<'s>,
        above: &Arc<Directory>,
        name: &OsStr,
    ) -> Result<(), CopyError> {
        let place = above.place();
        match dir::stat_at(place.src, name) {
            Ok(stat) if stat.kind() == FileType::Directory => {
                self.make_directory(place, name)?;
                self.subdirectory(scope, Arc::clone(above), name);
                Ok(())
            }
            Ok(_) => self.entry(place, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(place.read_error(name, error)),
        }
    }

    /// Tells the watcher what it does not know, and asks it.
    fn report(&self) {
        let Some(watch) = self.options.watch else {
            return;
        };
        let more = Copied {
            entries: self.untold.entries.swap(0, Ordering::Relaxed),
            bytes: self.untold.bytes.swap(0, Ordering::Relaxed),
        };
        if watch(more).is_break() {
            self.fail(CopyError::Stopped);
        }
    }

    /// Bytes of a file were copied; whether to go on.
    fn advance(&self, bytes: u64) -> bool {
        if self.untold.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= STRIDE {
            self.report();
        }
        !self.is_stopped()
    }

    fn count_entry(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.untold.entries.fetch_add(1, Ordering::Relaxed);
    }

    fn fail(&self, error: CopyError) {
        self.stopped.store(true, Ordering::Relaxed);
        lock(&self.failed).get_or_insert(error);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn directory<'s>(&'s self, scope: &Scope<'s>, directory: Arc<Directory>) {
        let read = self.read_directory(scope, &directory);
        self.leave(&directory);
        match read {
            Ok(names) => {
                for name in names {
                    let above = Arc::clone(&directory);
                    scope.spawn(move |scope| self.subdirectory(scope, above, &name));
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// Copies the files and makes the directories of `directory`; returns the names of the latter.
    fn read_directory<'s>(
        &'s self,
        scope: &Scope<'s>,
        directory: &Arc<Directory>,
    ) -> Result<Vec<OsString>, CopyError> {
        let mut directories = Vec::new();
        let mut batch = Vec::new();
        let place = directory.place();
        let read_error = |source: Errno| CopyError::Read {
            path: directory.path.clone(),
            source: source.into(),
        };
        let mut stream = rustix::fs::Dir::read_from(&directory.src).map_err(read_error)?;
        while let Some(entry) = stream.read() {
            if self.is_stopped() {
                return Ok(Vec::new());
            }
            let entry = entry.map_err(read_error)?;
            let Some((name, is_directory)) = self.entry_name(place, &entry)? else {
                continue;
            };
            if is_directory {
                self.make_directory(place, &name)?;
                directories.push(name);
                continue;
            }
            batch.push(name);
            if batch.len() == BATCH {
                self.hand_over(scope, directory, std::mem::take(&mut batch));
            }
        }
        self.batch(place, &batch);
        if let Some(noted) = place.noted {
            noted.add_directories(&directories);
        }
        Ok(directories)
    }

    fn entry_name(
        &self,
        place: Place<'_>,
        entry: &rustix::fs::DirEntry,
    ) -> Result<Option<(OsString, bool)>, CopyError> {
        use std::os::unix::ffi::OsStrExt as _;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            return Ok(None);
        }
        let name = OsStr::from_bytes(name);
        let kind = match entry.file_type() {
            FileType::Unknown => match dir::stat_at(place.src, name) {
                Ok(stat) => stat.kind(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(place.read_error(name, error)),
            },
            kind => kind,
        };
        Ok(Some((name.to_owned(), kind == FileType::Directory)))
    }

    fn make_directory(&self, place: Place<'_>, name: &OsStr) -> Result<(), CopyError> {
        rustix::fs::mkdirat(place.dst, name, Mode::from_raw_mode(0o700))
            .map_err(|error| place.write_error(name, error))?;
        self.count_entry();
        Ok(())
    }

    /// The directory, made already, has vanished from the source.
    fn unmake_directory(&self, dst: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        rustix::fs::unlinkat(dst, name, AtFlags::REMOVEDIR)
    }

    fn hand_over<'s>(
        &'s self,
        scope: &Scope<'s>,
        directory: &Arc<Directory>,
        names: Vec<OsString>,
    ) {
        if self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            self.batch(directory.place(), &names);
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        directory.open_tasks.fetch_add(1, Ordering::Relaxed);
        let directory = Arc::clone(directory);
        scope.spawn(move |_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.batch(directory.place(), &names);
            self.leave(&directory);
        });
    }

    fn batch(&self, place: Place<'_>, names: &[OsString]) {
        for name in names {
            if self.is_stopped() {
                return;
            }
            if let Err(error) = self.entry(place, name) {
                self.fail(error);
            }
        }
        self.report();
    }

    /// A task that wrote into the directory is done.
    fn leave(&self, directory: &Directory) {
        // Release what this task wrote, acquire what the others wrote: the times must be set after all of it.
        if directory.open_tasks.fetch_sub(1, Ordering::AcqRel) > 1 || self.is_stopped() {
            return;
        }
        if let Some(stat) = &directory.stat
            && let Err(error) = self.directory_attributes(directory.place(), stat)
        {
            self.fail(error);
        }
    }

    fn directory_attributes(&self, place: Place<'_>, stat: &Stat) -> Result<(), CopyError> {
        copy_attributes::to_open(place.src, place.dst, stat, self.acl).map_err(|source| {
            CopyError::Attributes {
                path: place.path.to_owned(),
                source,
            }
        })
    }

    fn subdirectory<'s>(&'s self, scope: &Scope<'s>, above: Arc<Directory>, name: &OsStr) {
        if self.is_stopped() {
            return;
        }
        if above.depth >= DEEP {
            if let Err(error) = self.deep(above.place(), name) {
                self.fail(error);
            }
            return;
        }
        match self.open_subdirectory(above.place(), name) {
            Ok(Some(opened)) => {
                let path = above.path.join(name);
                let seen = self.options.seen.filter(|_| !opened.foreign);
                let noted = seen.map(|seen| seen.note(path.clone(), opened.stat.ino));
                let directory = Directory {
                    src: opened.src,
                    dst: opened.dst,
                    path,
                    stat: Some(opened.stat),
                    depth: above.depth + 1,
                    noted,
                    open_tasks: AtomicUsize::new(1),
                };
                // Its descriptors must not stay open for as long as the tree below is copied.
                drop(above);
                if opened.foreign {
                    self.leave(&directory);
                } else {
                    self.directory(scope, Arc::new(directory));
                }
            }
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
    }

    fn open_subdirectory(
        &self,
        place: Place<'_>,
        name: &OsStr,
    ) -> Result<Option<Opened>, CopyError> {
        let src = match dir::open_at(place.src, name) {
            Ok(src) => src,
            Err(error) if is_gone(&error) => {
                self.unmake_directory(place.dst, name)
                    .map_err(|error| place.write_error(name, error))?;
                return Ok(None);
            }
            Err(error) => return Err(place.read_error(name, error)),
        };
        let stat = dir::stat(src.as_fd()).map_err(|error| place.read_error(name, error))?;
        let foreign = self
            .is_foreign(src.as_fd())
            .map_err(|error| place.read_error(name, error))?;
        let dst = dir::open_at(place.dst, name).map_err(|error| place.write_error(name, error))?;
        Ok(Some(Opened {
            src,
            dst,
            stat,
            foreign,
        }))
    }

    fn is_foreign(&self, directory: BorrowedFd<'_>) -> io::Result<bool> {
        match self.mount {
            Some(mount) => Ok(mount_id(directory)? != mount),
            None => Ok(false),
        }
    }

    /// Copies the directory `name` and all below it in this thread.
    fn deep(&self, place: Place<'_>, name: &OsStr) -> Result<(), CopyError> {
        let lost = |path: &Path, source| CopyError::Read {
            path: place.path.join(path),
            source,
        };
        let mut src = Descent::new(place.src, Mounts::Cross).map_err(|e| lost(Path::new(""), e))?;
        let mut dst = Descent::new(place.dst, Mounts::Cross).map_err(|e| lost(Path::new(""), e))?;
        let mut ahead = vec![vec![name.to_owned()]];
        while let Some(names) = ahead.last_mut() {
            if self.is_stopped() {
                return Ok(());
            }
            let Some(name) = names.pop() else {
                ahead.pop();
                if !ahead.is_empty() {
                    src.leave().map_err(|error| lost(&src.path(), error))?;
                    dst.leave().map_err(|error| lost(&dst.path(), error))?;
                }
                continue;
            };
            match src.enter(&name) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {
                    self.unmake_directory(dst.dir(), &name).map_err(|error| {
                        let path = place.path.join(dst.path()).join(&name);
                        CopyError::Write {
                            path,
                            source: error.into(),
                        }
                    })?;
                    continue;
                }
                Err(error) => return Err(lost(&src.path().join(name), error)),
            }
            let path = place.path.join(src.path());
            dst.enter(&name).map_err(|source| CopyError::Write {
                path: path.clone(),
                source,
            })?;
            let here = Place {
                src: src.dir(),
                dst: dst.dir(),
                path: &path,
                noted: None,
            };
            let read = |source| CopyError::Read {
                path: path.clone(),
                source,
            };
            let stat = dir::stat(here.src).map_err(read)?;
            let mut directories = Vec::new();
            if !self.is_foreign(here.src).map_err(read)? {
                for entry in dir::read_dir(here.src).map_err(read)? {
                    if self.is_stopped() {
                        return Ok(());
                    }
                    if entry.kind == FileType::Directory {
                        self.make_directory(here, &entry.name)?;
                        directories.push(entry.name);
                    } else {
                        self.entry(here, &entry.name)?;
                    }
                }
            }
            self.directory_attributes(here, &stat)?;
            self.report();
            ahead.push(directories);
        }
        Ok(())
    }
}

struct Opened {
    src: OwnedFd,
    dst: OwnedFd,
    stat: Stat,
    /// On another mount, and thus copied without contents.
    foreign: bool,
}

fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

/// A panic elsewhere does not make these maps wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `chown`: gives every file of a volume to another user, with as many threads as the host has processors.
//!
//! What has the right owner already is not touched, so a run that was cut short is taken up again by running it once
//! more. Links are not followed, other filesystems not entered. Set-user-id bits survive; file capabilities do not, as
//! with chown(1).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use sys::copy_tree::{Copied, Watch};

use crate::{VolumeError, Volumes};

/// Holder of the volume's mount for as long as a call lasts.
const CHOWN: &str = ":chown";

/// Entries of one directory between two tellings.
const STRIDE: u64 = 256;

/// Whose files become whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChownRequest {
    pub uid: u32,
    /// `None`: groups stay.
    pub gid: Option<u32>,
    /// Only files of this user.
    pub from: Option<u32>,
}

impl Volumes {
    /// Changes the owners, durably; tells how many files and directories changed. `watch` is told what was looked at, and
    /// may end it: what was changed until then stays.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], those of mounting, [`VolumeError::Io`] of the first file that resists: others may have
    /// been changed; [`VolumeError::Cancelled`].
    pub fn chown(
        &self,
        name: &str,
        request: ChownRequest,
        watch: &Watch<'_>,
    ) -> Result<u64, VolumeError> {
        let (id, done) = self.with_content(name, CHOWN, |row, content| {
            let done = Walk::new(request, watch)
                .run(content)
                .map_err(VolumeError::io(
                    "change the owner of the files in",
                    self.paths.volume_content(&row.id),
                ))?;
            // Also what a run that was cut short has changed.
            rustix::fs::syncfs(content).map_err(|error| {
                VolumeError::io("sync", self.paths.volume_content(&row.id))(error.into())
            })?;
            Ok((row.id.clone(), done))
        })?;
        let group = request
            .gid
            .map_or_else(String::new, |gid| format!(":{gid}"));
        let cut = if done.stopped { ", not all" } else { "" };
        let detail = format!("{} to {}{group}{cut}", done.changed, request.uid);
        self.store.write(|tx| {
            tx.insert_volume_event(&id, &Timestamp::now().to_string(), "chown", &detail)
        })?;
        if done.stopped {
            return Err(VolumeError::Cancelled(name.to_owned()));
        }
        Ok(done.changed)
    }
}

/// How far a run came.
struct Done {
    changed: u64,
    stopped: bool,
}

struct Walk<'a> {
    request: ChownRequest,
    watch: &'a Watch<'a>,
    queue: Mutex<Queue>,
    news: Condvar,
}

struct Queue {
    /// Directories below the root that nobody has taken yet.
    open: VecDeque<PathBuf>,
    /// Directories that are being worked on.
    busy: usize,
    changed: u64,
    stopped: bool,
    failed: Option<io::Error>,
}

/// What became of the entries of one directory.
#[derive(Default)]
struct Entries {
    changed: u64,
    /// Those to be entered.
    directories: Vec<OsString>,
    /// The rest was not looked at.
    stopped: bool,
}

impl<'a> Walk<'a> {
    fn new(request: ChownRequest, watch: &'a Watch<'a>) -> Self {
        Self {
            request,
            watch,
            queue: Mutex::new(Queue {
                open: VecDeque::from([PathBuf::new()]),
                busy: 0,
                changed: 0,
                stopped: false,
                failed: None,
            }),
            news: Condvar::new(),
        }
    }

    fn run(self, root: BorrowedFd<'_>) -> io::Result<Done> {
        let of_root = u64::from(self.one(root, c".")?);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(root));
            }
        });
        let queue = self
            .queue
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let done = Done {
            changed: of_root + queue.changed,
            stopped: queue.stopped,
        };
        queue.failed.map_or(Ok(done), Err)
    }

    fn work(&self, root: BorrowedFd<'_>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let over = queue.failed.is_some() || queue.stopped;
            if over || (queue.open.is_empty() && queue.busy == 0) {
                self.news.notify_all();
                return;
            }
            let Some(path) = queue.open.pop_back() else {
                queue = self
                    .news
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let done = self.directory(root, &path);
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.busy -= 1;
            match done {
                Ok(entries) => {
                    queue.changed += entries.changed;
                    queue.stopped |= entries.stopped;
                    let below = entries.directories.into_iter();
                    queue.open.extend(below.map(|name| path.join(name)));
                }
                // Deleted or replaced by a user of the volume meanwhile.
                Err(error) if sys::is_gone(&error) => {}
                Err(error) => queue.failed = Some(error),
            }
            self.news.notify_all();
        }
    }

    fn directory(&self, root: BorrowedFd<'_>, path: &Path) -> io::Result<Entries> {
        let directory = sys::dir::open_deep(root, path)?;
        let device = sys::dir::stat(root)?.dev;
        let mut entries = Entries::default();
        let mut looked_at = Copied::default();
        for entry in sys::dir::read_dir(directory.as_fd())? {
            let name = entry.name;
            let stat = match sys::dir::stat_at(directory.as_fd(), &name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if stat.dev != device {
                continue;
            }
            match self.one(directory.as_fd(), name.as_os_str()) {
                Ok(one) => entries.changed += u64::from(one),
                Err(error) if sys::is_gone(&error) => continue,
                Err(error) => return Err(error),
            }
            if stat.kind() == FileType::Directory {
                entries.directories.push(name);
            }
            looked_at.entries += 1;
            looked_at.bytes += stat.blocks * 512;
            if looked_at.entries == STRIDE
                && (self.watch)(std::mem::take(&mut looked_at)).is_break()
            {
                entries.stopped = true;
                return Ok(entries);
            }
        }
        entries.stopped = (self.watch)(looked_at).is_break();
        Ok(entries)
    }

    /// Whether the entry had another owner.
    fn one(
        &self,
        directory: BorrowedFd<'_>,
        name: impl rustix::path::Arg + Copy,
    ) -> io::Result<bool> {
        let ChownRequest { uid, gid, from } = self.request;
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if from.is_some_and(|from| from != stat.st_uid)
            || (stat.st_uid == uid && gid.is_none_or(|gid| gid == stat.st_gid))
        {
            return Ok(false);
        }
        rustix::fs::chownat(
            directory,
            name,
            Some(Uid::from_raw(uid)),
            gid.map(Gid::from_raw),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        // The kernel takes these bits away from files that change hands.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_mode & 0o6000 != 0
        {
            match rustix::fs::chmodat(
                directory,
                name,
                Mode::from_raw_mode(stat.st_mode & 0o7777),
                AtFlags::empty(),
            ) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

//! `chown`: gives every file of a volume to another user, with as many threads as the host has processors.
//!
//! What has the right owner already is not touched, so a run that was cut short is taken up again by running it once
//! more. Links are not followed, other filesystems not entered. Set-user-id bits survive; file capabilities do not, as
//! with chown(1).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::{VolumeError, Volumes};

/// Holder of the volume's mount for as long as a call lasts.
const CHOWN: &str = ":chown";

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
    /// Changes the owners, durably; tells how many files and directories changed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], those of mounting, [`VolumeError::Io`] of the first file that resists: others may have
    /// been changed.
    pub fn chown(&self, name: &str, request: ChownRequest) -> Result<u64, VolumeError> {
        let (id, changed) = self.with_content(name, CHOWN, |row, content| {
            let changed = Walk::new(request).run(content).map_err(VolumeError::io(
                "change the owner of the files in",
                self.paths.volume_content(&row.id),
            ))?;
            // Also what a run that was cut short has changed.
            rustix::fs::syncfs(content).map_err(|error| {
                VolumeError::io("sync", self.paths.volume_content(&row.id))(error.into())
            })?;
            Ok((row.id.clone(), changed))
        })?;
        let group = request
            .gid
            .map_or_else(String::new, |gid| format!(":{gid}"));
        let detail = format!("{changed} to {}{group}", request.uid);
        self.store.write(|tx| {
            tx.insert_volume_event(&id, &Timestamp::now().to_string(), "chown", &detail)
        })?;
        Ok(changed)
    }
}

struct Walk {
    request: ChownRequest,
    queue: Mutex<Queue>,
    news: Condvar,
}

struct Queue {
    /// Directories below the root that nobody has taken yet.
    open: VecDeque<PathBuf>,
    /// Directories that are being worked on.
    busy: usize,
    changed: u64,
    failed: Option<io::Error>,
}

impl Walk {
    fn new(request: ChownRequest) -> Self {
        Self {
            request,
            queue: Mutex::new(Queue {
                open: VecDeque::from([PathBuf::new()]),
                busy: 0,
                changed: 0,
                failed: None,
            }),
            news: Condvar::new(),
        }
    }

    fn run(self, root: BorrowedFd<'_>) -> io::Result<u64> {
        let mut changed = u64::from(self.one(root, c".")?);
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
        changed += queue.changed;
        queue.failed.map_or(Ok(changed), Err)
    }

    fn work(&self, root: BorrowedFd<'_>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.failed.is_some() || (queue.open.is_empty() && queue.busy == 0) {
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
                Ok((changed, directories)) => {
                    queue.changed += changed;
                    queue
                        .open
                        .extend(directories.into_iter().map(|name| path.join(name)));
                }
                // Deleted by a user of the volume meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => queue.failed = Some(error),
            }
            self.news.notify_all();
        }
    }

    fn directory(
        &self,
        root: BorrowedFd<'_>,
        path: &std::path::Path,
    ) -> io::Result<(u64, Vec<std::ffi::OsString>)> {
        let directory = sys::dir::open_deep(root, path)?;
        let device = sys::dir::stat(root)?.dev;
        let (mut changed, mut directories) = (0, Vec::new());
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
                Ok(one) => changed += u64::from(one),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            if stat.kind() == FileType::Directory {
                directories.push(name);
            }
        }
        Ok((changed, directories))
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

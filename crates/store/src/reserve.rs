//! Room on the disk that is kept for the engine's own records, so that a full disk can still be told of and emptied.
//!
//! * A file of [`SIZE`] bytes beside the database is given back to the disk piece by piece, when a transaction begins and there
//!   is next to nothing left; it is made again once there is plenty.
//! * It is a help, never a condition: without it transactions fail where they would have failed anyway.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::paths::Paths;

/// All of it.
const SIZE: u64 = 8 << 20;
/// What goes at once: some hundred transactions with what their operations make.
const PIECE: u64 = 1 << 20;
/// With less than this nothing can be relied on.
const SCARCE: u64 = 256 << 10;
/// With so much it is made, or made again.
const PLENTY: u64 = 8 * SIZE;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    root: PathBuf,
    /// Some of it is not there.
    short: AtomicBool,
}

impl Reserve {
    /// Makes it where there is room for it.
    pub(crate) fn keep(paths: &Paths) -> Self {
        let reserve = Self {
            path: paths.reserve(),
            root: paths.root().to_owned(),
            short: AtomicBool::new(true),
        };
        reserve.before_write();
        reserve
    }

    /// Gives a piece back if the disk is full; makes the whole again if it is not full any more.
    pub(crate) fn before_write(&self) {
        if let Err(error) = self.balance() {
            tracing::debug!(%error, "the room that is kept for records cannot be changed");
        }
    }

    fn balance(&self) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < SCARCE {
            self.give_back()
        } else if free >= PLENTY && self.short.swap(false, Ordering::Relaxed) {
            let file = self.open(OFlags::CREATE)?;
            // One by one: what was allocated at once btrfs frees at once, when the last of it is given up.
            for piece in 0..SIZE / PIECE {
                rustix::fs::fallocate(&file, FallocateFlags::empty(), piece * PIECE, PIECE)?;
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    fn give_back(&self) -> io::Result<()> {
        self.short.store(true, Ordering::Relaxed);
        let file = match self.open(OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let length = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        if length == 0 {
            return Ok(());
        }
        rustix::fs::ftruncate(&file, length.saturating_sub(PIECE))?;
        tracing::warn!(
            left = length.saturating_sub(PIECE),
            "the disk is full: a piece of what is kept for records was given back"
        );
        // btrfs and ext4 have the blocks again when what freed them is on disk.
        Ok(rustix::fs::syncfs(&file)?)
    }

    fn open(&self, more: OFlags) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
        Ok(rustix::fs::open(
            &self.path,
            flags,
            Mode::from_raw_mode(0o600),
        )?)
    }
}

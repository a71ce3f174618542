//! Has the kernel write to disk while more is being made, so that the last sync finds less to do.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// So many entries are worth a write of their own.
const PORTION: u64 = 4096;

/// Has the kernel begin to write what is in `file`, and does not wait for it. What cannot be begun is left to the sync that must
/// follow, which also tells of errors.
pub(crate) fn begin(file: BorrowedFd<'_>) {
    // SAFETY: it takes numbers, and changes nothing.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if result < 0 {
        tracing::trace!(error = %io::Error::last_os_error(), "not written ahead");
    }
}

/// Runs `work` with a function that it tells, from any thread, how many entries there are by now. Whatever it makes on the
/// filesystem of `root` is written now and then; it is durable only after a sync of the caller's.
///
/// # Errors
/// What the kernel could not write. A later sync may not say it again.
pub fn during<T>(
    root: BorrowedFd<'_>,
    work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T,
) -> io::Result<T> {
    let (wake, woken) = sync_channel::<()>(1);
    std::thread::scope(move |scope| {
        let writer = scope.spawn(move || -> io::Result<()> {
            while woken.recv().is_ok() {
                rustix::fs::syncfs(root)?;
            }
            Ok(())
        });
        let told = AtomicU64::new(PORTION);
        let result = work(&|entries| tell(&told, entries, &wake));
        drop(wake);
        writer.join().expect("a sync does not panic")?;
        Ok(result)
    })
}

fn tell(told: &AtomicU64, entries: u64, wake: &SyncSender<()>) {
    let next = told.load(Ordering::Relaxed);
    if entries >= next {
        told.store(entries + PORTION, Ordering::Relaxed);
        // One that is full, or whose writer has failed, needs no more.
        let _ = wake.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_result_comes_back_and_the_writer_ends() {
        let root = std::fs::File::open("/tmp").expect("a directory");
        let count = during(root.as_fd(), |tell| {
            for entries in 0..3 * PORTION {
                tell(entries);
            }
            7
        });
        assert_eq!(count.expect("nothing is wrong with it"), 7);
    }
}

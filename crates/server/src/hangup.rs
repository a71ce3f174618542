//! Notices that a client has gone while its request is worked on, and that it has read what it was sent.
//!
//! A client may close its half of a connection and still wait for the answer; only when both halves are closed nobody does.
//! The HTTP library cannot tell the two apart without writing, so the socket itself is asked.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

/// The socket of a request's connection; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<OwnedFd>);

/// Between two looks at a client. It is gone for good: nobody notices when the work that it asked for ends a moment later.
const EVERY: Duration = Duration::from_millis(50);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watched(AbortHandle);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    /// Waits until the client has read all that was written to it; not for long, for it may never do.
    pub(crate) async fn has_read(&self) {
        const PATIENCE: Duration = Duration::from_millis(50);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && engine::unread_by_peer(&*self.0).is_ok_and(|bytes| bytes > 0)
        {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Calls `gone`, on a thread of its own, when the client has left before what is returned is dropped. For threads of the
    /// runtime.
    pub(crate) fn watch(&self, gone: impl FnOnce() + Send + 'static) -> Watched {
        let peer = self.clone();
        let watching = tokio::spawn(async move {
            while !peer.has_left() {
                tokio::time::sleep(EVERY).await;
            }
            thread::spawn(gone);
        });
        Watched(watching.abort_handle())
    }

    /// That both halves are closed is told without being asked for.
    fn has_left(&self) -> bool {
        let mut socket = [PollFd::new(&*self.0, PollFlags::empty())];
        poll(&mut socket, Some(&Timespec::default())).is_ok_and(|told| told > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn only_a_full_close_is_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Peer(Arc::new(ours.into()));
        theirs.shutdown(Shutdown::Write).unwrap();
        let (sender, receiver) = channel();
        drop(peer.watch(move || sender.send("left").unwrap()));
        assert!(receiver.recv().is_err());
        let (sender, receiver) = channel();
        let _watched = peer.watch(move || sender.send("gone").unwrap());
        drop(theirs);
        assert_eq!(receiver.recv().unwrap(), "gone");
    }
}

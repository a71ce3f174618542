//! Notices that a client has gone while its request is worked on, and that it has read what it was sent.
//!
//! A client may close its half of a connection and still wait for the answer; only when both halves are closed nobody does.
//! The HTTP library cannot tell the two apart without writing, so the socket itself is asked.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::net::UnixStream;

/// The socket of a request's connection; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<OwnedFd>);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    _end: OwnedFd,
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

    /// Calls `gone`, on a thread of its own, when the client has left before what is returned is dropped.
    pub(crate) fn watch(&self, gone: impl FnOnce() + Send + 'static) -> io::Result<Watched> {
        let (ended, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let peer = self.clone();
        thread::Builder::new()
            .name("hang-up".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                if has_left(&peer.0, &ended) {
                    gone();
                }
            })?;
        Ok(Watched { _end: end })
    }
}

/// Waits for either; whether it was the client.
fn has_left(peer: &OwnedFd, ended: &OwnedFd) -> bool {
    loop {
        // That both halves are closed is told without being asked for.
        let mut both = [
            PollFd::new(peer, PollFlags::empty()),
            PollFd::new(ended, PollFlags::empty()),
        ];
        match poll(&mut both, None) {
            Ok(_) if !both[1].revents().is_empty() => return false,
            Ok(_) if !both[0].revents().is_empty() => return true,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "a client cannot be watched");
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn only_a_full_close_is_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Peer(Arc::new(ours.into()));
        let (sender, receiver) = channel();
        let again = sender.clone();
        let watched = peer.watch(move || sender.send("left").unwrap()).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        drop(watched);
        let watched = peer.watch(move || again.send("gone").unwrap()).unwrap();
        drop(theirs);
        assert_eq!(receiver.recv().unwrap(), "gone");
        drop(watched);
        assert!(receiver.recv().is_err());
    }
}

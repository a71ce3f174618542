//! What waits to be sent to one client: bounded by backpressure, kept in order, and dated by the client's progress.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// Above this size the source of the bytes has to pause. A source adds at most one portion after that.
pub(crate) const FULL: usize = 1024 * 1024;

/// A queue of this capacity is kept when it runs empty; a larger one is given back.
const KEEP: usize = 4096;

#[derive(Debug)]
pub(crate) struct Outbound {
    queue: VecDeque<u8>,
    /// When bytes last went out, or the queue last began to fill.
    progress: Instant,
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            progress: Instant::now(),
        }
    }

    /// Sends `bytes` behind what waits; what does not go out at once is kept. An error means that the peer is gone.
    pub(crate) fn send(&mut self, fd: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        if self.queue.is_empty() {
            self.progress = Instant::now();
            while !rest.is_empty() {
                match rustix::io::write(&fd, rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.queue.extend(rest);
        Ok(())
    }

    /// Sends what waits, as far as the peer takes it.
    pub(crate) fn flush(&mut self, fd: impl AsFd) -> Result<(), Errno> {
        while !self.queue.is_empty() {
            let (front, back) = self.queue.as_slices();
            match rustix::io::writev(&fd, &[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(count) => {
                    self.queue.drain(..count);
                    self.progress = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.queue.capacity() > KEEP {
            self.queue = VecDeque::new();
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= FULL
    }

    /// When the peer, taking nothing more, will have stood still for `patience`.
    pub(crate) fn stalled_at(&self, patience: Duration) -> Instant {
        self.progress + patience
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn everything_arrives_in_order_and_memory_is_given_back() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbound = Outbound::new();
        let sent: Vec<u8> = (0..3 * FULL)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        for portion in sent.chunks(32 * 1024) {
            outbound.send(&ours, portion).unwrap();
        }
        assert!(outbound.is_full());
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while received.len() < sent.len() {
            let count = theirs.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
            outbound.flush(&ours).unwrap();
        }
        assert!(received == sent);
        assert!(outbound.is_empty() && outbound.queue.capacity() <= KEEP);
        drop(theirs);
        assert_eq!(outbound.send(&ours, b"x"), Err(Errno::PIPE));
    }
}

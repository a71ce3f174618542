//! Carries one TCP connection to the container, both ways, until both sides have ended.
//!
//! The end of one direction is passed on as a half-close, so that a client that sends everything and then waits for the
//! answer gets it. Runs in a child of its own.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// How long the container may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

const BUFFER: usize = 64 * 1024;

/// Connects to `target` and copies until the end. The result is the child's exit code.
pub(crate) fn serve(client: &OwnedFd, target: SocketAddr) -> i32 {
    let Ok(client) = client.try_clone().map(TcpStream::from) else {
        return 1;
    };
    let Ok(container) = TcpStream::connect_timeout(&target, PATIENCE) else {
        return 1;
    };
    match carry(&client, &container) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn carry(client: &TcpStream, container: &TcpStream) -> Result<(), Errno> {
    for stream in [client, container] {
        sys::fd::set_nonblocking(stream, true).map_err(|_| Errno::INVAL)?;
        // Small messages shall not wait: each side has decided already when to send.
        stream.set_nodelay(true).unwrap_or_default();
    }
    let (mut up, mut down) = (Direction::new(), Direction::new());
    while !(up.finished && down.finished) {
        let mut fds = [
            PollFd::from_borrowed_fd(client.as_fd(), up.reading() | down.writing()),
            PollFd::from_borrowed_fd(container.as_fd(), down.reading() | up.writing()),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let broken = fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR));
        up.step(client, container)?;
        down.step(container, client)?;
        if broken {
            return Err(Errno::PIPE);
        }
    }
    Ok(())
}

/// One way of a connection.
struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    source_ended: bool,
    finished: bool,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            source_ended: false,
            finished: false,
        }
    }

    fn reading(&self) -> PollFlags {
        let wanted = self.start == self.end && !self.source_ended;
        if wanted {
            PollFlags::IN
        } else {
            PollFlags::empty()
        }
    }

    fn writing(&self) -> PollFlags {
        if self.start < self.end {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
    }

    /// Moves what can be moved without waiting.
    fn step(&mut self, from: &TcpStream, to: &TcpStream) -> Result<(), Errno> {
        if self.finished {
            return Ok(());
        }
        if self.start == self.end && !self.source_ended {
            match rustix::io::read(from, &mut self.buffer[..]) {
                Ok(0) => self.source_ended = true,
                Ok(count) => (self.start, self.end) = (0, count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        while self.start < self.end {
            match rustix::io::write(to, &self.buffer[self.start..self.end]) {
                Ok(count) => self.start += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if self.source_ended {
            // The peer may have closed everything meanwhile, which is as good.
            to.shutdown(Shutdown::Write).unwrap_or_default();
            self.finished = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_echo_server_answers_after_the_half_close() {
        let container = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = container.local_addr().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = host.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut connection, _) = container.accept().unwrap();
            let mut all = Vec::new();
            connection.read_to_end(&mut all).unwrap();
            connection.write_all(&all).unwrap();
        });
        let server = thread::spawn(move || {
            let (connection, _) = host.accept().unwrap();
            serve(&connection.into(), target)
        });
        let mut client = TcpStream::connect(address).unwrap();
        let sent: Vec<u8> = (0..500_000).map(|n: u32| n.to_le_bytes()[0]).collect();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent);
        echo.join().unwrap();
        assert_eq!(server.join().unwrap(), 0);
    }
}

//! A client that asks over TCP: one question after the other, each with its length before it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use sys::fd::{Epoll, Watched};

use crate::source::Source;

/// A client that does nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(15);
/// No question is longer.
const LONGEST: usize = 4096;

/// What an event brought.
#[derive(Debug)]
pub(super) enum Progress {
    Waits,
    Asks(Vec<u8>),
    Gone,
}

#[derive(Debug)]
pub(super) struct Caller {
    socket: Watched,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    /// A question of its is being answered: it is not listened to.
    waiting: bool,
    pub(super) deadline: Instant,
}

impl Caller {
    pub(super) fn new(epoll: &Epoll, socket: OwnedFd, number: u32) -> std::io::Result<Self> {
        let mut socket = Watched::new(epoll, socket, Source::Caller(number).token())?;
        socket.watch(EventFlags::IN)?;
        Ok(Self {
            socket,
            inbound: Vec::new(),
            outbound: Vec::new(),
            waiting: false,
            deadline: Instant::now() + IDLE,
        })
    }

    pub(super) fn proceed(&mut self, flags: EventFlags, buffer: &mut [u8]) -> Progress {
        if flags.contains(EventFlags::OUT) && !self.flush() {
            return Progress::Gone;
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return Progress::Gone;
        }
        if flags.contains(EventFlags::IN) && !self.waiting {
            match rustix::io::read(&self.socket, &mut buffer[..LONGEST]) {
                Ok(0) => return Progress::Gone,
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return Progress::Gone,
            }
            self.deadline = Instant::now() + IDLE;
        }
        self.question()
    }

    /// The next question, once it is complete and the one before is answered.
    fn question(&mut self) -> Progress {
        if self.waiting || !self.outbound.is_empty() {
            return Progress::Waits;
        }
        let Some(length) = self.inbound.first_chunk::<2>() else {
            return Progress::Waits;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LONGEST {
            return Progress::Gone;
        }
        let Some(packet) = self.inbound.get(2..2 + length).map(<[u8]>::to_vec) else {
            return Progress::Waits;
        };
        self.inbound.drain(..2 + length);
        self.waiting = true;
        if self.watch() {
            Progress::Asks(packet)
        } else {
            Progress::Gone
        }
    }

    /// Whether a whole question has come.
    fn is_complete(&self) -> bool {
        self.inbound.first_chunk::<2>().is_some_and(|length| {
            self.inbound.len() >= 2 + usize::from(u16::from_be_bytes(*length))
        })
    }

    /// Sends an answer. False when the client is gone, or has more questions than it lets be answered.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> bool {
        let Ok(length) = u16::try_from(bytes.len()) else {
            return false;
        };
        self.waiting = false;
        self.deadline = Instant::now() + IDLE;
        self.outbound.extend_from_slice(&length.to_be_bytes());
        self.outbound.extend_from_slice(bytes);
        self.flush()
    }

    fn flush(&mut self) -> bool {
        while !self.outbound.is_empty() {
            match rustix::io::write(&self.socket, &self.outbound) {
                Ok(count) => drop(self.outbound.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        self.watch()
    }

    fn watch(&mut self) -> bool {
        let mut interest = EventFlags::HUP;
        interest.set(EventFlags::IN, !self.waiting);
        // What came together with an answered question is looked at when the socket can be written, which is at once.
        let again = !self.waiting && self.is_complete();
        interest.set(EventFlags::OUT, !self.outbound.is_empty() || again);
        self.socket.watch(interest).is_ok()
    }
}

//! One client of the shim: a socket, what it has sent, what waits for it, and what it is there for.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use serde::Serialize;
use shim_protocol::{AttachSpec, frame};
use sys::fd::{Epoll, Watched};

use crate::detach::DetachKeys;
use crate::outbound::Outbound;
use crate::source::Source;

/// What a connection is for.
#[derive(Debug)]
pub(crate) enum Role {
    /// The request has not arrived completely.
    Asking,
    Watching,
    /// Carries the streams of process `process`.
    Attached {
        process: u32,
        streams: AttachSpec,
        keys: DetachKeys,
    },
    /// The container stands still for as long as it lasts.
    Holding,
    /// Waits for the end of this exec.
    AwaitingExec(String),
    /// Closes when everything is sent.
    Leaving,
}

/// What reading from a connection brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    Nothing,
    End,
}

#[derive(Debug)]
pub(crate) struct Connection {
    socket: Watched,
    pub(crate) role: Role,
    /// Bytes of an incomplete request.
    pub(crate) inbound: Vec<u8>,
    pub(crate) outbound: Outbound,
    /// The peer will send nothing more.
    pub(crate) input_ended: bool,
    /// When an unserved or leaving connection was made: bounds how long it may stay so.
    pub(crate) since: Instant,
}

impl Connection {
    pub(crate) fn new(
        epoll: &Epoll,
        socket: OwnedFd,
        number: u32,
        role: Role,
    ) -> std::io::Result<Self> {
        let mut connection = Self {
            socket: Watched::new(epoll, socket, Source::Connection(number).token())?,
            role,
            inbound: Vec::new(),
            outbound: Outbound::new(),
            input_ended: false,
            since: Instant::now(),
        };
        connection.socket.watch(EventFlags::IN)?;
        Ok(connection)
    }

    /// Reads what has arrived into `buffer`.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(0) => break,
                Ok(count) => return Received::Bytes(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Received::Nothing,
                // A reset is an end too.
                Err(_) => break,
            }
        }
        self.input_ended = true;
        Received::End
    }

    /// Sends bytes of a stream. An error means that the peer is gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.outbound.send(self.socket.as_fd(), bytes)
    }

    /// Sends a message. A message that cannot be encoded counts as a lost peer.
    pub(crate) fn tell(&mut self, message: &impl Serialize) -> Result<(), Errno> {
        let bytes = frame::encode(message).map_err(|_| Errno::MSGSIZE)?;
        self.send(&bytes)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        self.outbound.flush(self.socket.as_fd())
    }

    /// Waits for what matters now; `thirsty` tells whether input is wanted at this moment.
    pub(crate) fn refresh(&mut self, thirsty: bool) -> std::io::Result<()> {
        // Hang-ups are always reported; naming one keeps the descriptor registered when nothing else is wanted.
        let mut interest = EventFlags::HUP;
        interest.set(EventFlags::IN, thirsty && !self.input_ended);
        interest.set(EventFlags::OUT, !self.outbound.is_empty());
        self.socket.watch(interest)
    }
}

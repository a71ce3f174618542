//! A question that a name server elsewhere answers.
//!
//! Each attempt has a socket of its own, so that the port and the id are new: who wants to forge an answer has to guess both.
//! The bytes are passed on as they are, the id apart. The same transport is used as towards the client, so that an answer
//! that does not fit is asked for again over TCP by the client.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};
use shim_protocol::spec::Upstream;
use sys::fd::{Epoll, Watched};

use super::Asker;
use super::answer::code_of;
use crate::source::Source;

const PORT: u16 = 53;
/// How long one name server is given. Clients commonly ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Name servers that are asked, as by the C library.
const SERVERS: usize = 3;
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// What an event brought.
#[derive(Debug)]
pub(super) enum Progress {
    Waits,
    Answered(Vec<u8>),
    /// This server has nothing to say; the next one is to be asked.
    Failed,
}

#[derive(Debug)]
struct Attempt {
    socket: Watched,
    /// In place of the client's.
    id: [u8; 2],
    /// Over TCP: what is not yet sent, and what has come.
    stream: Option<(Vec<u8>, Vec<u8>)>,
}

/// One question, and how far it has come.
#[derive(Debug)]
pub(super) struct Question {
    number: u32,
    pub(super) packet: Vec<u8>,
    pub(super) asker: Asker,
    pub(super) deadline: Instant,
    /// Of the name server to be asked next.
    next: usize,
    attempt: Option<Attempt>,
    /// A refusal, in case nobody says anything better.
    last: Option<Vec<u8>>,
}

impl Question {
    pub(super) fn new(number: u32, packet: Vec<u8>, asker: Asker) -> Self {
        Self {
            number,
            packet,
            asker,
            deadline: Instant::now(),
            next: 0,
            attempt: None,
            last: None,
        }
    }

    /// What was heard although it was no answer.
    pub(super) fn take_last(&mut self) -> Option<Vec<u8>> {
        self.last.take()
    }

    /// Asks the next name server that can be asked. False when there is none left.
    pub(super) fn ask_next(&mut self, epoll: &Epoll, servers: &[Upstream], pid: i32) -> bool {
        self.attempt = None;
        while let Some(server) = servers.get(self.next).filter(|_| self.next < SERVERS) {
            self.next += 1;
            if let Some(attempt) = self.ask(epoll, server, pid) {
                self.attempt = Some(attempt);
                self.deadline = Instant::now() + PATIENCE;
                return true;
            }
        }
        false
    }

    fn ask(&self, epoll: &Epoll, server: &Upstream, pid: i32) -> Option<Attempt> {
        let address: IpAddr = server.address.split('%').next()?.parse().ok()?;
        let datagram = matches!(self.asker, Asker::Datagram(_));
        let kind = if datagram {
            SocketType::DGRAM
        } else {
            SocketType::STREAM
        };
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket: OwnedFd = if server.from_host {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(family, kind, flags, None).ok()?
        } else {
            runtime::socket_inside(pid, family, kind).ok()?
        };
        match connect(&socket, &SocketAddr::new(address, PORT)) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) if !datagram => {}
            Err(_) => return None,
        }
        let mut id = [0; 2];
        getrandom(&mut id, GetRandomFlags::empty()).ok()?;
        let mut packet = self.packet.clone();
        packet.get_mut(..2)?.copy_from_slice(&id);
        let mut socket = Watched::new(epoll, socket, Source::Upstream(self.number).token()).ok()?;
        let stream = if datagram {
            rustix::io::write(&socket, &packet).ok()?;
            socket.watch(EventFlags::IN).ok()?;
            None
        } else {
            socket.watch(EventFlags::OUT).ok()?;
            let length = u16::try_from(packet.len()).ok()?;
            let mut outbound = length.to_be_bytes().to_vec();
            outbound.append(&mut packet);
            Some((outbound, Vec::new()))
        };
        Some(Attempt { socket, id, stream })
    }

    pub(super) fn proceed(&mut self, flags: EventFlags, buffer: &mut [u8]) -> Progress {
        let Some(attempt) = &mut self.attempt else {
            return Progress::Waits;
        };
        let answer = match attempt.proceed(flags, buffer) {
            Ok(None) => return Progress::Waits,
            Ok(Some(answer)) => answer,
            Err(_) => return Progress::Failed,
        };
        let mut answer = answer;
        let Some(id) = answer.get_mut(..2) else {
            return Progress::Failed;
        };
        id.copy_from_slice(&self.packet[..2]);
        if matches!(code_of(&answer), Some(SERVER_FAILURE | REFUSED)) {
            self.last = Some(answer);
            return Progress::Failed;
        }
        Progress::Answered(answer)
    }
}

impl Attempt {
    fn proceed(&mut self, flags: EventFlags, buffer: &mut [u8]) -> Result<Option<Vec<u8>>, Errno> {
        let Some((outbound, inbound)) = &mut self.stream else {
            return match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(count) if is_answer(&buffer[..count], self.id) => {
                    Ok(Some(buffer[..count].to_vec()))
                }
                // Not to this question; the answer may still come.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                Err(error) => Err(error),
            };
        };
        if !outbound.is_empty() && flags.intersects(EventFlags::OUT | EventFlags::ERR) {
            match rustix::io::write(&self.socket, outbound) {
                Ok(count) => drop(outbound.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if outbound.is_empty() {
                self.socket
                    .watch(EventFlags::IN)
                    .map_err(|_| Errno::NOMEM)?;
            }
            return Ok(None);
        }
        match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(0) => return Err(Errno::CONNRESET),
            Ok(count) => inbound.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(length) = inbound.first_chunk::<2>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        match inbound.get(2..2 + length) {
            None => Ok(None),
            Some(answer) if is_answer(answer, self.id) => Ok(Some(answer.to_vec())),
            Some(_) => Err(Errno::PROTO),
        }
    }
}

fn is_answer(packet: &[u8], id: [u8; 2]) -> bool {
    packet.len() >= 12 && packet[..2] == id && packet[2] & 0x80 != 0
}

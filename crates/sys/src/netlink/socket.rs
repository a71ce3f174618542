//! A blocking netlink socket: send some messages, collect their answers.
//!
//! The kernel works on the messages of one send in order and answers each. A batch is therefore one system call and
//! yields the first refusal in order; whether later messages still took effect is the protocol's business (routes: yes,
//! nftables batches: no).

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use super::message::{self, HEADER, Message, as_u32, attribute};

/// Dumps hand out at most this much at once.
const BUFFER: usize = 32 * 1024;
/// The kernel answers before `send` returns; a longer wait means that the answer was lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Tables may change while they are dumped; then the dump is repeated, this often.
const DUMP_ATTEMPTS: u32 = 8;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`
const INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;

/// A message that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Which message of the batch.
    pub(crate) index: usize,
    pub(crate) error: io::Error,
    /// The kernel's explanation, when it gave one.
    pub(crate) explanation: Option<String>,
}

impl Refusal {
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.error.raw_os_error() == Some(errno.raw_os_error())
    }

    /// An error of the same kind that says what was tried.
    pub(crate) fn during(self, step: impl fmt::Display) -> io::Error {
        let kind = self.error.kind();
        let step = match self.explanation {
            Some(explanation) => format!("{step} ({explanation})"),
            None => step.to_string(),
        };
        io::Error::new(
            kind,
            Failure {
                step,
                source: self.error,
            },
        )
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self {
            index: 0,
            error,
            explanation: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
struct Failure {
    step: String,
    source: io::Error,
}

/// One message of an answer, without its header.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct NetlinkSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl NetlinkSocket {
    /// A NETLINK_ROUTE socket of the calling thread's network namespace; it stays there when the thread leaves.
    pub(crate) fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        Self::open(None)
    }

    /// A NETLINK_NETFILTER socket of the calling thread's network namespace.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        // Both only improve answers (no echo of the request, an explanation); kernels before 4.12 lack them.
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            if let Err(error) = enable(&fd, option) {
                tracing::debug!(option, %error, "netlink socket option refused");
            }
        }
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER],
            sequence: 0,
        })
    }

    /// Sends all messages at once and waits for the answer of each that asks for one ([`message::ACK`]).
    ///
    /// A refusal of a message that asked for none is noticed too, as long as another answer is awaited.
    pub(crate) fn transact(&mut self, messages: &mut [Message]) -> Result<(), Refusal> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(messages.len() * 256);
        let mut awaited = 0_usize;
        for message in &mut *messages {
            self.sequence = self.sequence.wrapping_add(1);
            awaited += usize::from(message.has_ack());
            bytes.extend_from_slice(message.finish(self.sequence));
        }
        self.send(&bytes)?;
        let mut refused: Option<Refusal> = None;
        while awaited > 0 {
            let length = self.receive()?;
            for part in Parts::of(&self.buffer[..length]) {
                if part.kind != NLMSG_ERROR {
                    continue;
                }
                let index =
                    usize::try_from(part.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(message) = messages.get(index) else {
                    continue;
                };
                let asked = message.has_ack();
                awaited -= usize::from(asked);
                if let Some((error, explanation)) = part.refusal()
                    && refused.as_ref().is_none_or(|earlier| index < earlier.index)
                {
                    refused = Some(Refusal {
                        index,
                        error,
                        explanation,
                    });
                }
                // What was not asked for is the refusal of a whole batch: the others are not answered any more.
                if !asked {
                    awaited = 0;
                    break;
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends one message that has an answer with content, and returns it.
    pub(crate) fn ask(&mut self, mut message: Message) -> Result<Answer, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let bytes = message.finish(sequence).to_vec();
        self.send(&bytes)?;
        loop {
            let length = self.receive()?;
            for part in Parts::of(&self.buffer[..length]) {
                if part.sequence != sequence {
                    continue;
                }
                if part.kind != NLMSG_ERROR {
                    return Ok(part.answer());
                }
                if let Some((error, explanation)) = part.refusal() {
                    return Err(Refusal {
                        index: 0,
                        error,
                        explanation,
                    });
                }
            }
        }
    }

    /// Sends a dump request and returns everything it yields, consistent in itself.
    pub(crate) fn dump(&mut self, mut message: Message) -> Result<Vec<Answer>, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let bytes = message.finish(self.sequence).to_vec();
            self.send(&bytes)?;
            if let Some(answers) = self.collect()? {
                return Ok(answers);
            }
        }
        Err(io::Error::from(Errno::INTR).into())
    }

    /// The answers up to the end of the dump; `None` when they are not consistent.
    fn collect(&mut self) -> Result<Option<Vec<Answer>>, Refusal> {
        let mut answers = Vec::new();
        let mut consistent = true;
        loop {
            let length = self.receive()?;
            for part in Parts::of(&self.buffer[..length]) {
                if part.sequence != self.sequence {
                    continue;
                }
                consistent &= part.flags & INTERRUPTED == 0;
                match part.kind {
                    NLMSG_NOOP => {}
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match part.refusal() {
                            Some((error, _)) if error.raw_os_error() == Some(libc::EINTR) => {
                                Ok(None)
                            }
                            Some((error, explanation)) => Err(Refusal {
                                index: 0,
                                error,
                                explanation,
                            }),
                            None => Ok(consistent.then_some(answers)),
                        };
                    }
                    _ => answers.push(part.answer()),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
                Ok((kept, whole)) if kept == whole => return Ok(kept),
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

fn enable(fd: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("four fits");
    // SAFETY: the descriptor is open, and the option's value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One received message.
struct Part<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Part<'_> {
    fn answer(&self) -> Answer {
        Answer {
            kind: self.kind,
            body: self.body.to_vec(),
        }
    }

    /// The error that an NLMSG_ERROR or NLMSG_DONE carries; `None` is success.
    fn refusal(&self) -> Option<(io::Error, Option<String>)> {
        let code = i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?);
        if code == 0 {
            return None;
        }
        let explanation = (self.flags & ACK_ATTRIBUTES != 0)
            .then(|| {
                let skipped = if self.kind == NLMSG_DONE {
                    4
                } else if self.flags & CAPPED != 0 {
                    4 + HEADER
                } else {
                    let echoed = as_u32(self.body.get(4..)?)?;
                    4 + message::align(usize::try_from(echoed).ok()?)
                };
                attribute(self.body.get(skipped..)?, ERROR_TEXT).map(message::as_string)
            })
            .flatten();
        Some((io::Error::from_raw_os_error(-code), explanation))
    }
}

/// The messages in one received datagram.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    const fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let head = self.rest.get(..HEADER)?;
        let length = usize::try_from(as_u32(head)?).ok()?;
        let body = self.rest.get(HEADER..length)?;
        let part = Part {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            flags: u16::from_ne_bytes([head[6], head[7]]),
            sequence: as_u32(&head[8..])?,
            body,
        };
        self.rest = self.rest.get(message::align(length)..).unwrap_or_default();
        Some(part)
    }
}

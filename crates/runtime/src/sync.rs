//! The conversation between the caller and the process it has made, until that process executes its program.
//!
//! One message is one packet on a socket pair; the first byte tells which. A closed socket is a message too.
//!
//! | parent | message | child |
//! |---|---|---|
//! | clone3 | | begins, mounts what needs no cgroup |
//! | cgroups and limits are made | `Cgroups` → | joins them, mounts /sys/fs/cgroup |
//! | network is made | `Network` → | goes on to sysctls, pivot_root |
//! | keeps the terminal | ← `Terminal` + descriptor | (only with a terminal) |
//! | remembers | ← `Ready` | about to install its filter and execute |
//! | reports the error, reaps the child | ← `Failed(StartError)` | (at any time) ends |
//! | `Ready` came: the program runs | ← closed by execve | |
//! | `Ready` never came: killed during set-up | ← closed by death | |
//! | gave up | closed → | ends |

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use shim_protocol::StartError;

use crate::failure::{During as _, failed};

/// A longer error text is cut: it has to fit into one packet.
const LONGEST: usize = 32 * 1024;

/// What the parent sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    Cgroups,
    Network,
}

impl Go {
    fn byte(self) -> u8 {
        match self {
            Self::Cgroups => b'C',
            Self::Network => b'N',
        }
    }
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Parent(OwnedFd);

/// The child's end. Closes by itself at execve.
#[derive(Debug)]
pub(crate) struct Child(OwnedFd);

/// Makes both ends.
pub(crate) fn pair() -> Result<(Parent, Child), StartError> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .during("sync", || "cannot make a socket pair".to_owned())?;
    Ok((Parent(ours), Child(theirs)))
}

impl Parent {
    /// Lets the child go on. A child that has failed already is noticed by [`Parent::finish`].
    pub(crate) fn send(&self, go: Go) -> Result<(), StartError> {
        match rustix::net::send(&self.0, &[go.byte()], SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error).during("sync", || "cannot reach the new process".to_owned()),
        }
    }

    /// Waits until the child's program runs. Gives the terminal, when the child made one.
    pub(crate) fn finish(&self) -> Result<Option<OwnedFd>, StartError> {
        let (mut terminal, mut ready) = (None, false);
        let mut buffer = vec![0; LONGEST + 4096];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::io::retry_on_intr(|| {
                rustix::net::recvmsg(
                    &self.0,
                    &mut [IoSliceMut::new(&mut buffer)],
                    &mut control,
                    RecvFlags::CMSG_CLOEXEC,
                )
            });
            let length = match received {
                Ok(message) => message.bytes,
                // The child died with a message of ours unread. What it said before comes next.
                Err(Errno::CONNRESET) => continue,
                Err(error) => {
                    return Err(error).during("sync", || "cannot hear the new process".to_owned());
                }
            };
            match buffer[..length].split_first() {
                None if ready => return Ok(terminal),
                None => {
                    let text = "the container's first process ended while it was being set up \
                        (killed, or out of memory)";
                    return Err(failed("start", text));
                }
                Some((b'R', _)) => ready = true,
                Some((b'T', _)) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                            terminal = descriptors.into_iter().last();
                        }
                    }
                }
                Some((_, error)) => {
                    return Err(serde_json::from_slice(error)
                        .unwrap_or_else(|_| failed("sync", "garbled error of the new process")));
                }
            }
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Child {
    /// Waits for `go`.
    pub(crate) fn wait(&self, go: Go) -> Result<(), StartError> {
        let mut byte = [0];
        let length =
            rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut byte, RecvFlags::empty()))
                .map_or(0, |(_, length)| length);
        if length == 1 && byte[0] == go.byte() {
            Ok(())
        } else {
            Err(failed("sync", "the starting process has gone away"))
        }
    }

    /// Hands the terminal's master end over.
    pub(crate) fn send_terminal(&self, master: BorrowedFd<'_>) -> Result<(), StartError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [master];
        // One descriptor was reserved above, so this always fits.
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(
            &self.0,
            &[IoSlice::new(b"T")],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .map(drop)
        .during("terminal", || "cannot hand the terminal over".to_owned())
    }

    /// Tells that all is set up.
    pub(crate) fn send_ready(&self) -> Result<(), StartError> {
        rustix::io::write(&self.0, b"R")
            .map(drop)
            .during("sync", || "the starting process has gone away".to_owned())
    }

    /// Reports why the program will not run.
    pub(crate) fn send_failure(&self, error: &StartError) {
        let mut error = error.clone();
        if error.message.len() > LONGEST / 2 {
            let end = error.message.floor_char_boundary(LONGEST / 2);
            error.message.truncate(end);
        }
        let mut packet = vec![b'F'];
        if let Ok(text) = serde_json::to_vec(&error) {
            packet.extend(text);
        }
        // Plain write, which filters allow. When nobody listens any more there is nobody to tell.
        rustix::io::write(&self.0, &packet).ok();
    }

    /// Closes every descriptor above the standard streams but this end.
    pub(crate) fn close_others(self) -> Result<Self, (StartError, Self)> {
        let own = u32::try_from(self.0.as_raw_fd()).expect("open descriptors are not negative");
        let below = if own > 3 {
            sys::process::close_range(3, own - 1)
        } else {
            Ok(())
        };
        match below.and_then(|()| sys::process::close_from(own + 1)) {
            Ok(()) => Ok(self),
            Err(error) => {
                let text = crate::failure::text(&error);
                let text = format!("cannot close inherited descriptors: {text}");
                Err((failed("descriptors", text), self))
            }
        }
    }
}

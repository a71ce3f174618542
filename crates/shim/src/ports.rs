//! Published ports on the host: holds them as reservation and serves what the firewall does not redirect.
//!
//! Each TCP connection gets a forked child, each UDP port one child as soon as a datagram comes, which lives until the
//! port has been idle. Children die with the shim. Once closed, the ports can be bound by others at once.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use shim_protocol::spec::PublishedPort;
use sys::fd::{Epoll, Watched};

use crate::source::Source;
use crate::{datagrams, relay};

/// Connections served at a time, over all ports; others wait in the kernel's queue.
const CONNECTIONS: usize = 512;

#[derive(Debug)]
struct Port {
    socket: Watched,
    udp: bool,
    /// Where the container listens; `None` when its address is not known: the port is only reserved.
    target: Option<SocketAddr>,
    /// The child that serves a UDP port.
    server: Option<i32>,
}

/// All published ports of the container.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    ports: Vec<Port>,
    connections: BTreeSet<i32>,
}

impl Ports {
    /// Takes one socket for each entry of `published`, in the same order.
    pub(crate) fn new(
        epoll: &Epoll,
        published: &[PublishedPort],
        sockets: impl Iterator<Item = OwnedFd>,
    ) -> io::Result<Self> {
        let mut ports = Vec::new();
        for ((entry, socket), number) in published.iter().zip(sockets).zip(0..) {
            let target = entry.container_ip.parse::<IpAddr>().ok();
            let mut port = Port {
                socket: Watched::new(epoll, socket, Source::Port(number).token())?,
                udp: entry.protocol == "udp",
                target: target.map(|address| SocketAddr::new(address, entry.container_port)),
                server: None,
            };
            if port.target.is_some() {
                port.socket.watch(EventFlags::IN)?;
            }
            ports.push(port);
        }
        Ok(Self {
            ports,
            connections: BTreeSet::new(),
        })
    }

    /// Somebody wants something of port `number`.
    pub(crate) fn ready(&mut self, number: u32) {
        let Some(port) = usize::try_from(number)
            .ok()
            .and_then(|at| self.ports.get_mut(at))
        else {
            return;
        };
        let Some(target) = port.target else { return };
        if port.udp {
            port.serve_datagrams(target);
            return;
        }
        // One at a time: epoll reports again while others wait.
        let connection = match accept_with(&port.socket, SocketFlags::CLOEXEC) {
            Ok(connection) => connection,
            Err(error) => {
                if error == Errno::MFILE || error == Errno::NFILE || error == Errno::NOMEM {
                    self.listen(false);
                }
                return;
            }
        };
        // Without a child the connection is closed, which is all that can be told to the peer.
        if let Ok(pid) =
            sys::fork::in_child(&[connection.as_fd()], || relay::serve(&connection, target))
        {
            self.connections.insert(pid);
            if self.connections.len() >= CONNECTIONS {
                self.listen(false);
            }
        }
    }

    /// A child of the shim ended that is no process of the container.
    pub(crate) fn reaped(&mut self, pid: i32) {
        if self.connections.remove(&pid) {
            self.listen(true);
        }
        for port in self
            .ports
            .iter_mut()
            .filter(|port| port.server == Some(pid))
        {
            port.server = None;
            port.watch(true);
        }
    }

    /// Ends all service and frees the host's ports.
    pub(crate) fn close(&mut self) {
        let servers = self.ports.iter().filter_map(|port| port.server);
        for pid in servers.chain(std::mem::take(&mut self.connections)) {
            let Some(pid) = Pid::from_raw(pid) else {
                continue;
            };
            // Fails only for a child that has been reaped already, and then there is nothing to wait for.
            if kill_process(pid, Signal::KILL).is_ok() {
                while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
            }
        }
        self.ports.clear();
    }

    fn listen(&mut self, on: bool) {
        for port in self
            .ports
            .iter_mut()
            .filter(|port| !port.udp && port.target.is_some())
        {
            port.watch(on);
        }
    }
}

impl Port {
    fn watch(&mut self, on: bool) {
        let interest = if on {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        // Only memory can fail here; the port then stays a reservation.
        self.socket.watch(interest).unwrap_or_default();
    }

    fn serve_datagrams(&mut self, target: SocketAddr) {
        let socket = self.socket.as_fd();
        match sys::fork::in_child(&[socket], || datagrams::serve(socket, target)) {
            Ok(pid) => {
                self.server = Some(pid);
                self.watch(false);
            }
            // Dropping the datagram, which UDP allows, keeps the loop from asking again at once.
            Err(_) => drop(rustix::net::recv(
                socket,
                &mut [0_u8; 1],
                rustix::net::RecvFlags::DONTWAIT,
            )),
        }
    }
}

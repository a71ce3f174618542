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
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use shim_protocol::spec::PublishedPort;
use sys::fd::{Epoll, Watched};

use crate::source::Source;
use crate::{datagrams, relay};

/// Connections served at a time, over all ports; others wait in the kernel's queue.
const CONNECTIONS: usize = 512;
const BACKLOG: i32 = 4096;

#[derive(Debug)]
struct Port {
    /// What epoll calls it.
    number: u32,
    entry: PublishedPort,
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
    last_number: u32,
}

impl Ports {
    /// Takes one socket for each entry of `published`, in the same order.
    pub(crate) fn new(
        epoll: &Epoll,
        published: &[PublishedPort],
        sockets: impl Iterator<Item = OwnedFd>,
    ) -> io::Result<Self> {
        let mut ports = Self::default();
        for (entry, socket) in published.iter().zip(sockets) {
            ports.last_number += 1;
            let port = Port::new(epoll, entry, socket, ports.last_number)?;
            ports.ports.push(port);
        }
        Ok(ports)
    }

    /// Makes the ports be these: those that stay keep their sockets and lead to where they are said to lead now, new ones are
    /// bound, the rest is free again. On an error everything is as before.
    pub(crate) fn change(&mut self, epoll: &Epoll, wanted: &[PublishedPort]) -> io::Result<()> {
        let same = |port: &Port, entry: &PublishedPort| {
            port.entry.protocol == entry.protocol
                && port.entry.host_ip == entry.host_ip
                && port.entry.host_port == entry.host_port
        };
        let mut new = Vec::new();
        for entry in wanted {
            if !self.ports.iter().any(|port| same(port, entry)) {
                self.last_number += 1;
                new.push(Port::new(
                    epoll,
                    entry,
                    bind_host(entry)?,
                    self.last_number,
                )?);
            }
        }
        let (mut kept, gone): (Vec<Port>, Vec<Port>) = std::mem::take(&mut self.ports)
            .into_iter()
            .partition(|port| wanted.iter().any(|entry| same(port, entry)));
        for port in &mut kept {
            let entry = wanted.iter().find(|entry| same(port, entry));
            if let Some(entry) = entry.filter(|entry| **entry != port.entry) {
                // Its server leads to the old place; the next datagram brings a new one.
                end(port.server.into_iter());
                port.server = None;
                port.lead_to(entry);
                port.watch(port.target.is_some());
            }
        }
        end(gone.iter().filter_map(|port| port.server));
        kept.append(&mut new);
        self.ports = kept;
        Ok(())
    }

    /// Somebody wants something of port `number`.
    pub(crate) fn ready(&mut self, number: u32) {
        let Some(port) = self.ports.iter_mut().find(|port| port.number == number) else {
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
        end(servers.chain(std::mem::take(&mut self.connections)));
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

/// Kills children and reaps them.
fn end(children: impl Iterator<Item = i32>) {
    for pid in children {
        let Some(pid) = Pid::from_raw(pid) else {
            continue;
        };
        // Fails only for a child that has been reaped already, and then there is nothing to wait for.
        if kill_process(pid, Signal::KILL).is_ok() {
            while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
        }
    }
}

/// A socket on a host port, as the engine makes them for a start.
fn bind_host(entry: &PublishedPort) -> io::Result<OwnedFd> {
    let address: IpAddr = entry
        .host_ip
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let udp = entry.protocol == "udp";
    let kind = if udp {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if !udp {
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, entry.host_port))?;
    if !udp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

impl Port {
    fn new(epoll: &Epoll, entry: &PublishedPort, socket: OwnedFd, number: u32) -> io::Result<Self> {
        let mut port = Self {
            number,
            entry: entry.clone(),
            socket: Watched::new(epoll, socket, Source::Port(number).token())?,
            udp: entry.protocol == "udp",
            target: None,
            server: None,
        };
        port.lead_to(entry);
        if port.target.is_some() {
            port.socket.watch(EventFlags::IN)?;
        }
        Ok(port)
    }

    fn lead_to(&mut self, entry: &PublishedPort) {
        let target = entry.container_ip.parse::<IpAddr>().ok();
        self.target = target.map(|address| SocketAddr::new(address, entry.container_port));
        self.entry = entry.clone();
    }

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

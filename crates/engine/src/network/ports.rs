//! Host ports: reserved by real sockets, so that conflicts with anybody on the host are found before a container starts.
//!
//! A TCP port is bound and listened on, a UDP port is bound. Without a host address a port is taken on all IPv4 and, where
//! the host has it, all IPv6 addresses; both get the same number. What this engine holds already is told apart from what
//! others hold, as in Docker's sentences.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use shim_protocol::spec::PublishedPort;

use super::NetworkError;

/// Docker's range for ports that nobody chose, which is also the kernel's for its own.
const EPHEMERAL: (u16, u16) = (32768, 60999);
const BACKLOG: i32 = 4096;

/// One port that a container wants on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// `None` or empty: all addresses.
    pub host_ip: Option<String>,
    /// First and last of a range, of which one is taken; `None`: any free port.
    pub host_ports: Option<(u16, u16)>,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub container_port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(super) fn parse(text: &str) -> Result<Self, NetworkError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(NetworkError::UnsupportedProtocol(text.to_owned())),
            _ => Err(NetworkError::InvalidProtocol(text.to_owned())),
        }
    }

    /// As in an IP header.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A host port in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    protocol: Protocol,
    address: IpAddr,
    port: u16,
}

impl Held {
    fn conflicts(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && self.address.is_ipv4() == other.address.is_ipv4()
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified())
    }
}

/// The host ports of all containers of this engine.
#[derive(Debug)]
pub(super) struct Ports {
    held: HashMap<u16, Vec<(Held, String)>>,
    /// Where the search for a free port goes on.
    next: u16,
}

/// Published ports with the sockets that reserve them, one for each in the same order.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    pub(super) published: Vec<PublishedPort>,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Why one address and port could not be had.
enum Refused {
    /// By a container of this engine.
    Ours,
    System(io::Error),
}

impl Ports {
    pub(super) fn new() -> Self {
        Self {
            held: HashMap::new(),
            next: EPHEMERAL.0,
        }
    }

    /// Takes all of `requests` for a container, or none.
    pub(super) fn reserve(
        &mut self,
        container: &str,
        container_ip: Ipv4Addr,
        requests: &[PortRequest],
    ) -> Result<Reserved, NetworkError> {
        let mut reserved = Reserved::default();
        for request in requests {
            if let Err(error) = self.reserve_one(container, container_ip, request, &mut reserved) {
                self.release(container);
                return Err(error);
            }
        }
        Ok(reserved)
    }

    /// Notes the ports of a container that was found running; its shim has the sockets.
    pub(super) fn restore(
        &mut self,
        container: &str,
        published: &[PublishedPort],
    ) -> Result<(), NetworkError> {
        for port in published {
            let held = Held {
                protocol: Protocol::parse(&port.protocol)?,
                address: parse_ip(&port.host_ip)?,
                port: port.host_port,
            };
            self.hold(container, held);
        }
        Ok(())
    }

    /// Forgets the ports of a container. The sockets are closed by whoever has them.
    pub(super) fn release(&mut self, container: &str) {
        self.held.retain(|_, holders| {
            holders.retain(|(_, holder)| holder != container);
            !holders.is_empty()
        });
    }

    fn hold(&mut self, container: &str, held: Held) {
        self.held
            .entry(held.port)
            .or_default()
            .push((held, container.to_owned()));
    }

    fn reserve_one(
        &mut self,
        container: &str,
        container_ip: Ipv4Addr,
        request: &PortRequest,
        reserved: &mut Reserved,
    ) -> Result<(), NetworkError> {
        let protocol = Protocol::parse(&request.protocol)?;
        let addresses = host_addresses(request.host_ip.as_deref())?;
        let (first, last) = request.host_ports.unwrap_or(EPHEMERAL);
        let start = match request.host_ports {
            None => self.next,
            Some(_) => first,
        };
        let mut refusal = None;
        for port in (start..=last).chain(first..start) {
            match self.take(protocol, &addresses, port) {
                Ok(taken) => {
                    if request.host_ports.is_none() {
                        self.next = if port == last { first } else { port + 1 };
                    }
                    for (address, socket) in taken {
                        let held = Held {
                            protocol,
                            address,
                            port,
                        };
                        self.hold(container, held);
                        reserved.sockets.push(socket);
                        reserved.published.push(PublishedPort {
                            protocol: request.protocol.clone(),
                            host_ip: address.to_string(),
                            host_port: port,
                            container_ip: container_ip.to_string(),
                            container_port: request.container_port,
                        });
                    }
                    return Ok(());
                }
                Err((address, Refused::System(source))) if !is_in_use(&source) => {
                    return Err(bind_error(SocketAddr::new(address, port), source));
                }
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        let (address, refused) = refusal.expect("a range has at least one port");
        Err(if first != last {
            NetworkError::RangeAllocated {
                host: format!("{}-{last}", SocketAddr::new(address, first)),
            }
        } else {
            match refused {
                Refused::Ours => NetworkError::PortAllocated {
                    host: SocketAddr::new(address, first).to_string(),
                },
                Refused::System(source) => bind_error(SocketAddr::new(address, first), source),
            }
        })
    }

    /// Takes `port` on all of `addresses`, or on none.
    fn take(
        &self,
        protocol: Protocol,
        addresses: &HostAddresses,
        port: u16,
    ) -> Result<Vec<(IpAddr, OwnedFd)>, (IpAddr, Refused)> {
        let mut taken = Vec::new();
        for address in &addresses.all {
            let wanted = Held {
                protocol,
                address: *address,
                port,
            };
            let holders = self.held.get(&port).into_iter().flatten();
            if holders.into_iter().any(|(held, _)| held.conflicts(&wanted)) {
                return Err((*address, Refused::Ours));
            }
            match open(protocol, SocketAddr::new(*address, port)) {
                Ok(socket) => taken.push((*address, socket)),
                Err(error) if address.is_ipv6() && addresses.ipv6_may_lack && is_absent(&error) => {
                }
                Err(error) => return Err((*address, Refused::System(error))),
            }
        }
        Ok(taken)
    }
}

/// Where a request wants its port.
struct HostAddresses {
    all: Vec<IpAddr>,
    /// IPv6 was not asked for by name.
    ipv6_may_lack: bool,
}

fn host_addresses(host_ip: Option<&str>) -> Result<HostAddresses, NetworkError> {
    Ok(match host_ip {
        None | Some("") => HostAddresses {
            all: vec![
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ],
            ipv6_may_lack: true,
        },
        Some(text) => HostAddresses {
            all: vec![parse_ip(text)?],
            ipv6_may_lack: false,
        },
    })
}

pub(super) fn parse_ip(text: &str) -> Result<IpAddr, NetworkError> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| NetworkError::InvalidHostIp(text.to_owned()))
}

fn open(protocol: Protocol, address: SocketAddr) -> io::Result<OwnedFd> {
    let (family, kind) = (
        match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        },
        match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        },
    );
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    // Connections of an earlier container that wait out their end must not block the port; two listeners still conflict.
    if protocol == Protocol::Tcp {
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn is_errno(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn is_in_use(error: &io::Error) -> bool {
    is_errno(error, &[Errno::ADDRINUSE])
}

/// The host has no IPv6.
fn is_absent(error: &io::Error) -> bool {
    is_errno(error, &[Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL])
}

fn bind_error(host: SocketAddr, source: io::Error) -> NetworkError {
    let reason = if is_in_use(&source) {
        "address already in use".to_owned()
    } else if is_errno(&source, &[Errno::ADDRNOTAVAIL]) {
        "cannot assign requested address".to_owned()
    } else if is_errno(&source, &[Errno::ACCESS, Errno::PERM]) {
        "permission denied".to_owned()
    } else {
        source.to_string()
    };
    NetworkError::Bind {
        host: host.to_string(),
        reason,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd as _;

    use sys::netlink::{in_namespace, loopback_up_here, new_namespace};

    use super::*;

    const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn request(host_ip: Option<&str>, ports: Option<(u16, u16)>, protocol: &str) -> PortRequest {
        PortRequest {
            host_ip: host_ip.map(str::to_owned),
            host_ports: ports,
            protocol: protocol.to_owned(),
            container_port: 80,
        }
    }

    const PORT: u16 = 8080;

    /// Runs where all ports are free.
    fn alone(work: impl FnOnce()) {
        let namespace = new_namespace().unwrap();
        in_namespace(namespace.as_fd(), || {
            loopback_up_here().unwrap();
            work();
        })
        .unwrap();
    }

    #[test]
    fn both_families_get_the_same_port_and_listen() {
        alone(both_families_get_the_same_port_and_listen_alone);
    }

    fn both_families_get_the_same_port_and_listen_alone() {
        let mut ports = Ports::new();
        let reserved = ports
            .reserve("a", CONTAINER, &[request(None, None, "tcp")])
            .unwrap();
        let hosts: Vec<&str> = reserved
            .published
            .iter()
            .map(|port| port.host_ip.as_str())
            .collect();
        assert!(
            hosts == ["0.0.0.0", "::"] || hosts == ["0.0.0.0"],
            "{hosts:?}"
        );
        assert_eq!(reserved.sockets.len(), reserved.published.len());
        let port = reserved.published[0].host_port;
        assert!((EPHEMERAL.0..=EPHEMERAL.1).contains(&port));
        assert!(reserved.published.iter().all(|each| each.host_port == port));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn conflicts_are_told_apart() {
        alone(conflicts_are_told_apart_alone);
    }

    fn conflicts_are_told_apart_alone() {
        let mut ports = Ports::new();
        let port = PORT;
        let wanted = [request(None, Some((port, port)), "tcp")];
        let kept = ports.reserve("a", CONTAINER, &wanted).unwrap();
        for (host, shown) in [(None, "0.0.0.0"), (Some("127.0.0.1"), "127.0.0.1")] {
            let again = [request(host, Some((port, port)), "tcp")];
            let error = ports.reserve("b", CONTAINER, &again).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Bind for {shown}:{port} failed: port is already allocated")
            );
        }
        let range = [request(Some("0.0.0.0"), Some((port, port + 1)), "tcp")];
        let next = ports.reserve("b", CONTAINER, &range).unwrap();
        assert_eq!(next.published[0].host_port, port + 1);
        let error = ports.reserve("c", CONTAINER, &range).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "Bind for 0.0.0.0:{port}-{} failed: all ports are allocated",
                port + 1
            )
        );
        let udp = [request(None, Some((port, port)), "udp")];
        ports.reserve("c", CONTAINER, &udp).unwrap();

        drop(kept);
        ports.release("a");
        let foreign = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let error = ports.reserve("a", CONTAINER, &wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to bind host port for 0.0.0.0:{port}: address already in use")
        );
        drop(foreign);
        ports.reserve("a", CONTAINER, &wanted).unwrap();
    }

    #[test]
    fn all_or_nothing() {
        alone(all_or_nothing_alone);
    }

    fn all_or_nothing_alone() {
        let mut ports = Ports::new();
        let port = PORT;
        let foreign = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        let wanted = [
            request(Some("127.0.0.1"), Some((port, port)), "tcp"),
            request(Some("127.0.0.1"), Some((port, port)), "udp"),
        ];
        ports.reserve("a", CONTAINER, &wanted).unwrap_err();
        drop(foreign);
        let reserved = ports.reserve("b", CONTAINER, &wanted).unwrap();
        assert_eq!(reserved.sockets.len(), 2);
    }

    #[test]
    fn restored_ports_are_held() {
        alone(restored_ports_are_held_alone);
    }

    fn restored_ports_are_held_alone() {
        let mut ports = Ports::new();
        let port = PORT;
        let wanted = [request(Some("127.0.0.1"), Some((port, port)), "tcp")];
        let published = ports.reserve("a", CONTAINER, &wanted).unwrap().published;
        let mut later = Ports::new();
        later.restore("a", &published).unwrap();
        assert!(matches!(
            later.reserve("b", CONTAINER, &wanted),
            Err(NetworkError::PortAllocated { .. })
        ));
        later.release("a");
        later.reserve("b", CONTAINER, &wanted).unwrap();
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        alone(what_cannot_be_published_is_refused_alone);
    }

    fn what_cannot_be_published_is_refused_alone() {
        let table = [
            (
                request(Some("1.2.3"), None, "tcp"),
                "invalid IP address: 1.2.3",
            ),
            (
                request(None, None, "sctp"),
                "publishing sctp ports is not supported",
            ),
            (request(None, None, "icmp"), "invalid proto: icmp"),
            (
                request(Some("192.0.2.254"), Some((4000, 4000)), "tcp"),
                "failed to bind host port for 192.0.2.254:4000: cannot assign requested address",
            ),
        ];
        for (wanted, text) in table {
            let error = Ports::new().reserve("a", CONTAINER, &[wanted]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}

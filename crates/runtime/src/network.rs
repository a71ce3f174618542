//! The container's interfaces and the sockets of its resolver, made from outside while the new process goes on with its
//! mounts, or later, while the container runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use shim_protocol::StartError;
use shim_protocol::spec::{Interface, NetworkNs, RunSpec};
use sys::netlink::{VethSpec, in_namespace, loopback_up};
use sys::nftables::{BaseChain, Batch, Family, Hook, MapSpec, Netfilter, Place, PortMapKey, Rule};

use crate::failure::{During as _, failed};

/// Where a container on a network with names asks for them.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const DNS_PORT: u16 = 53;
const BACKLOG: i32 = 64;
const TABLE: &str = "orlop-resolver";
const MAP: &str = "resolver";
// Types as `nft` numbers them; concatenated ones are six bits each.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The sockets on which the shim answers the container's questions for names.
#[derive(Debug)]
pub struct ResolverSockets {
    pub udp: OwnedFd,
    /// Listens.
    pub tcp: OwnedFd,
}

/// Whether the container is to have interfaces: one is there, and the namespace is its own.
pub(crate) fn wanted(spec: &RunSpec) -> bool {
    spec.namespaces.network == NetworkNs::Private && spec.network.interface.is_some()
}

/// Makes everything that the spec wants inside the network namespace of `pid`.
pub(crate) fn make(spec: &RunSpec, pid: i32) -> Result<Option<ResolverSockets>, StartError> {
    let netns = open(pid)?;
    for interface in spec.network.interfaces() {
        attach(interface, netns.as_fd())?;
    }
    match spec.network.resolver {
        Some(_) => listen_inside(netns.as_fd()).map(Some),
        None => Ok(None),
    }
}

/// Connects a running container to another bridge. `pid` is its first process.
///
/// # Errors
/// In one sentence; nothing is left of the interface then.
pub fn connect(interface: &Interface, pid: i32) -> Result<(), StartError> {
    attach(interface, open(pid)?.as_fd())
}

/// Takes an interface away, by the name of its host end; it is no error that it is gone.
///
/// # Errors
/// In one sentence.
pub fn disconnect(interface: &Interface) -> Result<(), StartError> {
    sys::netlink::link_delete(&interface.host_name)
        .map(drop)
        .during("network", || {
            format!(
                "cannot disconnect the container from network {}",
                interface.bridge
            )
        })
}

/// Makes the gateways of these interfaces the default routes of a running container.
///
/// # Errors
/// In one sentence.
pub fn reroute<'a>(
    interfaces: impl Iterator<Item = &'a Interface>,
    pid: i32,
) -> Result<(), StartError> {
    let netns = open(pid)?;
    let mut gateways: Vec<(&str, IpAddr)> = Vec::new();
    for interface in interfaces {
        for gateway in [&interface.gateway, &interface.gateway6]
            .into_iter()
            .flatten()
        {
            let address = gateway
                .parse()
                .map_err(|_| failed("network", format!("invalid gateway `{gateway}`")))?;
            gateways.push((&interface.name, address));
        }
    }
    sys::netlink::set_default_routes(netns.as_fd(), &gateways).during("network", || {
        "cannot change the container's default route".to_owned()
    })
}

/// Opens the resolver's sockets in a running container.
///
/// # Errors
/// In one sentence.
pub fn open_resolver(pid: i32) -> Result<ResolverSockets, StartError> {
    listen_inside(open(pid)?.as_fd())
}

/// A socket of the container's, for a question to a name server that the container reaches.
///
/// # Errors
/// The system's.
pub fn socket_inside(
    pid: i32,
    family: AddressFamily,
    kind: SocketType,
) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    let netns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = in_namespace(netns.as_fd(), || socket_with(family, kind, flags, None))??;
    Ok(socket)
}

fn open(pid: i32) -> Result<OwnedFd, StartError> {
    let path = format!("/proc/{pid}/ns/net");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("network", || {
            "cannot open the container's network".to_owned()
        })
}

fn attach(interface: &Interface, netns: BorrowedFd<'_>) -> Result<(), StartError> {
    sys::netlink::attach_container(&veth(interface), netns).during("network", || {
        format!(
            "cannot connect the container to network {}",
            interface.bridge
        )
    })
}

/// The sockets have ports of the kernel's choice, so that a name server inside the container may have 53 for itself on all
/// addresses; what is sent to 127.0.0.11:53 is redirected to them.
fn listen_inside(netns: BorrowedFd<'_>) -> Result<ResolverSockets, StartError> {
    let what = || "cannot open the container's resolver".to_owned();
    loopback_up(netns).during("network", what)?;
    in_namespace(netns, || -> std::io::Result<ResolverSockets> {
        let bound = |kind| -> std::io::Result<(OwnedFd, u16)> {
            let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
            bind(&socket, &SocketAddr::from((RESOLVER, 0)))?;
            let port = SocketAddr::try_from(getsockname(&socket)?)?.port();
            Ok((socket, port))
        };
        let (udp, udp_port) = bound(SocketType::DGRAM)?;
        let (tcp, tcp_port) = bound(SocketType::STREAM)?;
        listen(&tcp, BACKLOG)?;
        redirect(&[(UDP, udp_port), (TCP, tcp_port)]).map_err(std::io::Error::other)?;
        Ok(ResolverSockets { udp, tcp })
    })
    .and_then(|opened| opened)
    .during("network", what)
}

/// In the namespace of the calling thread.
fn redirect(ports: &[(u8, u16)]) -> Result<(), sys::nftables::NftablesError> {
    let output = BaseChain {
        name: "output",
        kind: "nat",
        hook: Hook::Output,
        priority: -100,
        drop: false,
    };
    let map = MapSpec {
        name: MAP,
        key_type: TYPE_ADDRESS << 12 | TYPE_PROTOCOL << 6 | TYPE_PORT,
        key_length: 12,
        value_type: TYPE_ADDRESS << 6 | TYPE_PORT,
        value_length: 8,
    };
    let elements: Vec<_> = ports
        .iter()
        .map(|&(protocol, port)| {
            let mut key = RESOLVER.octets().to_vec();
            key.extend_from_slice(&[protocol, 0, 0, 0]);
            key.extend_from_slice(&DNS_PORT.to_be_bytes());
            key.extend_from_slice(&[0, 0]);
            let mut value = RESOLVER.octets().to_vec();
            value.extend_from_slice(&port.to_be_bytes());
            value.extend_from_slice(&[0, 0]);
            (key, value)
        })
        .collect();
    let rule = Rule::new().redirect_by(PortMapKey::AddressAndPort, MAP);
    let mut batch = Batch::new();
    batch.add_table(Family::Ip, TABLE);
    batch.add_map(Family::Ip, TABLE, &map);
    batch.add_chain(Family::Ip, TABLE, &output);
    batch.add_rule(Family::Ip, TABLE, output.name, Place::Last, &rule, TABLE);
    batch.add_elements(Family::Ip, TABLE, MAP, &elements);
    batch.commit(&Netfilter::open()?)
}

fn veth(interface: &Interface) -> VethSpec {
    VethSpec {
        bridge: interface.bridge.clone(),
        host_name: interface.host_name.clone(),
        peer_name: interface.name.clone(),
        mac: interface.mac.clone(),
        address: interface.address.clone(),
        gateway: interface.gateway.clone(),
        address6: interface.address6.clone(),
        gateway6: interface.gateway6.clone(),
        mtu: interface.mtu,
        isolated: interface.isolated,
    }
}

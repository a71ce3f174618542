//! Connecting a container's network namespace to a bridge.
//!
//! Steps:
//! 1. One message makes the veth pair: the host end on the bridge and up, the other end inside the namespace, down,
//!    with its final name, hardware address and MTU.
//! 2. The host end's bridge port gets hairpin mode, so that a container reaches itself through its published port, and is
//!    kept apart from other ports where that is wanted.
//! 3. Inside the namespace: addresses, link up, default routes, in one batch.
//! 4. The two ends and the bridge pass packets: without waiting for that, a first packet that is sent at once may be
//!    lost, and is only sent again after a second.
//!
//! A pair of the same name is a leftover whose namespace is still being torn down; it is deleted first. When a step
//! fails, the pair is deleted.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::address::{Prefix, add_address};
use super::link::{
    IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, NAME_MAX, RTM_NEWLINK, delete, find, header, set_up,
    settle,
};
use super::message::{ACK, CREATE, EXCLUSIVE, Message};
use super::namespace::in_namespace;
use super::route::{add_default_route, delete_default_route};
use super::socket::{NetlinkSocket, Refusal};

const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
/// `IFLA_BRPORT_MODE`: hairpin.
const BRIDGE_PORT_MODE: u16 = 4;
const BRIDGE_PORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_NONE`: no link-local address appears by itself.
const GENERATE_NO_ADDRESS: u8 = 1;

/// A container's connection to a bridge, fully decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethSpec {
    /// The host's bridge.
    pub bridge: String,
    /// Name of the host end, at most 15 bytes.
    pub host_name: String,
    /// Name inside the namespace: `eth0`.
    pub peer_name: String,
    /// Hardware address inside: `02:42:ac:11:00:02`.
    pub mac: String,
    /// `172.17.0.2/16`.
    pub address: String,
    pub gateway: Option<String>,
    /// Without it the interface has no IPv6 at all, not even a link-local address.
    pub address6: Option<String>,
    pub gateway6: Option<String>,
    pub mtu: u32,
    /// Other ports of the bridge that are isolated, too, are not reached.
    pub isolated: bool,
}

/// [`VethSpec`] with its texts read.
struct Plan<'a> {
    spec: &'a VethSpec,
    mac: [u8; 6],
    addresses: Vec<Prefix>,
    gateways: Vec<IpAddr>,
}

impl<'a> Plan<'a> {
    fn read(spec: &'a VethSpec) -> io::Result<Self> {
        for name in [&spec.host_name, &spec.peer_name] {
            if name.is_empty() || name.len() > NAME_MAX {
                return Err(invalid("network device name", name));
            }
        }
        let prefix = |text: &String| text.parse().map_err(|_| invalid("address", text));
        let ip = |text: &String| text.parse().map_err(|_| invalid("gateway", text));
        Ok(Self {
            mac: parse_mac(&spec.mac).ok_or_else(|| invalid("hardware address", &spec.mac))?,
            addresses: [Some(&spec.address), spec.address6.as_ref()]
                .into_iter()
                .flatten()
                .map(prefix)
                .collect::<io::Result<_>>()?,
            gateways: [spec.gateway.as_ref(), spec.gateway6.as_ref()]
                .into_iter()
                .flatten()
                .map(ip)
                .collect::<io::Result<_>>()?,
            spec,
        })
    }
}

fn invalid(what: &str, text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("invalid {what} `{text}`"),
    )
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Connects the network namespace `netns` to a bridge of the calling thread's namespace, as `spec` says.
///
/// The calling thread is in its own namespace again afterwards. Loopback is not touched ([`super::loopback_up`]). A
/// missing bridge is `NotFound`; after any failure nothing is left behind.
pub fn attach_container(spec: &VethSpec, netns: BorrowedFd<'_>) -> io::Result<()> {
    let plan = Plan::read(spec)?;
    let mut host = NetlinkSocket::route()?;
    let bridge = find(&mut host, &spec.bridge)
        .map_err(|refusal| refusal.during(format_args!("look up bridge {}", spec.bridge)))?
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("bridge {} does not exist", spec.bridge),
            )
        })?;
    create_pair(&mut host, &plan, bridge.index, netns)?;
    let configured = configure(&plan, netns).and_then(|()| {
        for name in [&spec.host_name, &spec.bridge] {
            settled(&mut host, name)?;
        }
        Ok(())
    });
    if configured.is_err()
        && let Err(refusal) = delete(&mut host, &spec.host_name)
    {
        tracing::debug!(name = spec.host_name, error = %refusal.error, "half-made veth not deleted");
    }
    configured
}

/// Makes the gateways of these devices inside `netns` its default routes; a family without one loses its default route.
pub fn set_default_routes(netns: BorrowedFd<'_>, gateways: &[(&str, IpAddr)]) -> io::Result<()> {
    let mut inside = in_namespace(netns, NetlinkSocket::route)??;
    for ipv6 in [false, true] {
        let chosen = gateways
            .iter()
            .find(|(_, gateway)| gateway.is_ipv6() == ipv6);
        let Some((name, gateway)) = chosen else {
            match inside.transact(&mut [delete_default_route(ipv6)]) {
                Err(refusal)
                    if ![Errno::SRCH, Errno::NOENT, Errno::AFNOSUPPORT]
                        .iter()
                        .any(|errno| refusal.is(*errno)) =>
                {
                    return Err(refusal.during("delete the default route"));
                }
                _ => continue,
            }
        };
        let link = find(&mut inside, name)
            .map_err(|refusal| during(refusal, "look up", name))?
            .ok_or(io::ErrorKind::NotFound)?;
        inside
            .transact(&mut [add_default_route(link.index, *gateway)])
            .map_err(|refusal| {
                refusal.during(format_args!("make {gateway} the default route of {name}"))
            })?;
    }
    Ok(())
}

/// Steps 1 and 2; the pair is gone again when they fail.
fn create_pair(
    host: &mut NetlinkSocket,
    plan: &Plan<'_>,
    bridge: u32,
    netns: BorrowedFd<'_>,
) -> io::Result<()> {
    let name = &plan.spec.host_name;
    let mut steps = [pair(plan, bridge, netns), port(name, plan.spec.isolated)];
    let mut result = host.transact(&mut steps);
    if result
        .as_ref()
        .is_err_and(|refusal| refusal.index == 0 && refusal.is(Errno::EXIST))
    {
        delete(host, name).map_err(|refusal| during(refusal, "delete leftover", name))?;
        result = host.transact(&mut steps);
    }
    let Err(refusal) = result else {
        return Ok(());
    };
    if refusal.index == 0 {
        return Err(during(refusal, "create veth", name));
    }
    if let Err(undo) = delete(host, name) {
        tracing::debug!(name, error = %undo.error, "half-made veth not deleted");
    }
    Err(during(refusal, "set bridge port modes of", name))
}

fn during(refusal: Refusal, step: impl fmt::Display, name: &str) -> io::Error {
    refusal.during(format_args!("{step} {name}"))
}

fn pair(plan: &Plan<'_>, bridge: u32, netns: BorrowedFd<'_>) -> Message {
    let spec = plan.spec;
    let netns = u32::try_from(netns.as_raw_fd()).expect("open descriptors are not negative");
    let mut message = Message::new(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE);
    message
        .fixed(&header(0, IFF_UP, IFF_UP))
        .put_str(IFLA_IFNAME, &spec.host_name)
        .put_u32(IFLA_MTU, spec.mtu)
        .put_u32(IFLA_MASTER, bridge)
        .nest(IFLA_LINKINFO, |info| {
            info.put_str(IFLA_INFO_KIND, "veth")
                .nest(IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |peer| {
                        peer.fixed(&header(0, 0, 0))
                            .put_str(IFLA_IFNAME, &spec.peer_name)
                            .put(IFLA_ADDRESS, &plan.mac)
                            .put_u32(IFLA_MTU, spec.mtu)
                            .put_u32(IFLA_NET_NS_FD, netns);
                    });
                });
        });
    message
}

fn port(name: &str, isolated: bool) -> Message {
    let mut message = Message::new(RTM_NEWLINK, ACK);
    message
        .fixed(&header(0, 0, 0))
        .put_str(IFLA_IFNAME, name)
        .nest(IFLA_LINKINFO, |info| {
            info.put_str(IFLA_INFO_SLAVE_KIND, "bridge")
                .nest(IFLA_INFO_SLAVE_DATA, |data| {
                    data.put_u8(BRIDGE_PORT_MODE, 1);
                    if isolated {
                        data.put_u8(BRIDGE_PORT_ISOLATED, 1);
                    }
                });
        });
    message
}

/// The device without addresses of its own making; refused by kernels without IPv6, which need it not.
fn without_ipv6(index: u32) -> Message {
    let family = u16::try_from(libc::AF_INET6).expect("address families are small");
    let mut message = Message::new(RTM_NEWLINK, ACK);
    message
        .fixed(&header(index, 0, 0))
        .nest(IFLA_AF_SPEC, |spec| {
            spec.nest(family, |inet6| {
                inet6.put_u8(IFLA_INET6_ADDR_GEN_MODE, GENERATE_NO_ADDRESS);
            });
        });
    message
}

/// Step 3.
fn configure(plan: &Plan<'_>, netns: BorrowedFd<'_>) -> io::Result<()> {
    let mut inside = in_namespace(netns, NetlinkSocket::route)??;
    let name = &plan.spec.peer_name;
    let link = find(&mut inside, name)
        .map_err(|refusal| during(refusal, "look up", name))?
        .ok_or(io::ErrorKind::NotFound)?;
    if plan.spec.address6.is_none()
        && let Err(refusal) = inside.transact(&mut [without_ipv6(link.index)])
    {
        tracing::debug!(name, error = %refusal.error, "ipv6 addresses not turned off");
    }
    let mut steps = Vec::new();
    for prefix in &plan.addresses {
        steps.push((
            format!("add address {prefix} to"),
            add_address(link.index, *prefix),
        ));
    }
    steps.push(("bring up".to_owned(), set_up(link.index)));
    for gateway in &plan.gateways {
        steps.push((
            format!("add default route by {gateway} to"),
            add_default_route(link.index, *gateway),
        ));
    }
    let (names, mut messages): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    inside
        .transact(&mut messages)
        .map_err(|refusal| match names.get(refusal.index) {
            Some(step) => during(refusal, step, name),
            None => during(refusal, "configure", name),
        })?;
    settled(&mut inside, name)
}

/// Part of step 4. Later packets get through anyway, so lateness is no failure.
fn settled(socket: &mut NetlinkSocket, name: &str) -> io::Result<()> {
    let passes = settle(socket, name).map_err(|refusal| during(refusal, "look up", name))?;
    if !passes {
        tracing::debug!(name, "does not pass packets yet");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        assert_eq!(
            parse_mac("02:42:ac:11:00:02"),
            Some([2, 0x42, 0xac, 0x11, 0, 2])
        );
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:0:2",
            "gg:42:ac:11:00:02",
        ] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}

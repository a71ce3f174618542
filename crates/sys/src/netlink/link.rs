//! Network devices: list, find, delete, bring up, and make bridges.

use std::io;

use rustix::event::Timespec;
use rustix::io::Errno;

use super::address::{Prefix, add_address};
use super::message::{ACK, CREATE, DUMP, EXCLUSIVE, Message, as_string, as_u32, attribute};
use super::socket::{Answer, NetlinkSocket, Refusal};

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;

/// `RTEXT_FILTER_SKIP_STATS`: counters make up most of a link's description.
const SKIP_STATISTICS: u32 = 1 << 3;

pub(super) const IFF_UP: u32 = 0x1;
const LINK_HEADER: usize = 16;

const SETTLE_ATTEMPTS: u32 = 100;
const SETTLE_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000,
};

/// `IF_OPER_UP`
const OPERSTATE_UP: u8 = 6;

/// The longest name that a device may have.
pub(super) const NAME_MAX: usize = 15;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `bridge`, `veth`, …; empty for hardware.
    pub kind: String,
    pub mac: Vec<u8>,
    pub mtu: u32,
    /// Index of the bridge (or bond) that the device is a port of.
    pub master: Option<u32>,
    /// Set up by the administrator; says nothing about a carrier.
    pub up: bool,
    /// Passes packets: up, with a carrier, and the kernel has finished acting on that.
    pub operational: bool,
}

/// `struct ifinfomsg`.
pub(super) fn header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut bytes = [0; LINK_HEADER];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// The message that brings up the device `index`.
pub(super) fn set_up(index: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, ACK);
    message.fixed(&header(index, IFF_UP, IFF_UP));
    message
}

fn parse(answer: &Answer) -> Option<Link> {
    if answer.kind != RTM_NEWLINK {
        return None;
    }
    let body = answer.body.get(LINK_HEADER..)?;
    let info = attribute(body, IFLA_LINKINFO).unwrap_or_default();
    Some(Link {
        index: as_u32(answer.body.get(4..)?)?,
        name: attribute(body, IFLA_IFNAME).map(as_string)?,
        kind: attribute(info, IFLA_INFO_KIND)
            .map(as_string)
            .unwrap_or_default(),
        mac: attribute(body, IFLA_ADDRESS).unwrap_or_default().to_vec(),
        mtu: attribute(body, IFLA_MTU).and_then(as_u32).unwrap_or(0),
        master: attribute(body, IFLA_MASTER).and_then(as_u32),
        up: as_u32(answer.body.get(8..)?)? & IFF_UP != 0,
        operational: attribute(body, IFLA_OPERSTATE) == Some(&[OPERSTATE_UP]),
    })
}

/// All devices.
pub fn links() -> io::Result<Vec<Link>> {
    let mut message = Message::new(RTM_GETLINK, DUMP);
    message.fixed(&header(0, 0, 0));
    message.put_u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    let answers = NetlinkSocket::route()?
        .dump(message)
        .map_err(|refusal| refusal.during("list network devices"))?;
    Ok(answers.iter().filter_map(parse).collect())
}

pub(super) fn find(socket: &mut NetlinkSocket, name: &str) -> Result<Option<Link>, Refusal> {
    let mut message = Message::new(RTM_GETLINK, 0);
    message.fixed(&header(0, 0, 0));
    message.put_str(IFLA_IFNAME, name);
    message.put_u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    match socket.ask(message) {
        Ok(answer) => Ok(parse(&answer)),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Waits until the device called `name` passes packets, for a bounded time; returns whether it does.
///
/// The kernel acts on a carrier in the background and drops what is sent before. Since Linux 6.14 the question itself
/// makes it catch up, so that there is nothing to wait for.
pub(super) fn settle(socket: &mut NetlinkSocket, name: &str) -> Result<bool, Refusal> {
    for _ in 0..SETTLE_ATTEMPTS {
        match find(socket, name)? {
            None => return Ok(false),
            Some(link) if link.operational => return Ok(true),
            Some(_) => rustix::event::poll(&mut [], Some(&SETTLE_PAUSE))
                .map(drop)
                .or_else(|errno| {
                    if errno == Errno::INTR {
                        Ok(())
                    } else {
                        Err(errno)
                    }
                })
                .map_err(io::Error::from)?,
        }
    }
    Ok(false)
}

/// The device called `name`, if there is one.
pub fn link_info(name: &str) -> io::Result<Option<Link>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Ok(None);
    }
    find(&mut NetlinkSocket::route()?, name)
        .map_err(|refusal| refusal.during(format_args!("look up network device {name}")))
}

/// Whether there is a device called `name`.
pub fn link_exists(name: &str) -> io::Result<bool> {
    Ok(link_info(name)?.is_some())
}

pub(super) fn delete(socket: &mut NetlinkSocket, name: &str) -> Result<bool, Refusal> {
    let mut message = Message::new(RTM_DELLINK, ACK);
    message.fixed(&header(0, 0, 0));
    message.put_str(IFLA_IFNAME, name);
    match socket.transact(&mut [message]) {
        Ok(()) => Ok(true),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Deletes the device called `name`. False when there is none.
///
/// Deleting one end of a veth pair deletes both. It waits for the kernel's grace periods: 10 to 30 ms.
pub fn link_delete(name: &str) -> io::Result<bool> {
    delete(&mut NetlinkSocket::route()?, name)
        .map_err(|refusal| refusal.during(format_args!("delete network device {name}")))
}

/// [`link_delete`] of the device with this index, which, unlike its name, is not given to a later one.
pub fn link_delete_index(index: u32) -> io::Result<bool> {
    let mut message = Message::new(RTM_DELLINK, ACK);
    message.fixed(&header(index, 0, 0));
    match NetlinkSocket::route()?.transact(&mut [message]) {
        Ok(()) => Ok(true),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(false),
        Err(refusal) => Err(refusal.during(format_args!("delete network device {index}"))),
    }
}

/// Makes a bridge with these addresses and brings it up. Fails with `AlreadyExists` when the name is taken; after any
/// other failure nothing is left behind.
///
/// The hardware address should be given: a bridge without one takes that of its lowest port, which changes.
pub fn bridge_create(
    name: &str,
    mac: Option<[u8; 6]>,
    mtu: u32,
    addresses: &[Prefix],
) -> io::Result<()> {
    let mut socket = NetlinkSocket::route()?;
    let mut message = Message::new(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE);
    message.fixed(&header(0, 0, 0));
    message.put_str(IFLA_IFNAME, name).put_u32(IFLA_MTU, mtu);
    if let Some(mac) = mac {
        message.put(IFLA_ADDRESS, &mac);
    }
    message.nest(IFLA_LINKINFO, |info| {
        info.put_str(IFLA_INFO_KIND, "bridge");
    });
    socket
        .transact(&mut [message])
        .map_err(|refusal| refusal.during(format_args!("create bridge {name}")))?;
    let finished = configure(&mut socket, name, addresses);
    if finished.is_err()
        && let Err(refusal) = delete(&mut socket, name)
    {
        tracing::debug!(name, error = %refusal.error, "half-made bridge could not be deleted");
    }
    finished
}

/// Gives an existing device these addresses, which it may have already, and brings it up. `NotFound` when there is no
/// such device.
pub fn link_configure(name: &str, addresses: &[Prefix]) -> io::Result<()> {
    configure(&mut NetlinkSocket::route()?, name, addresses)
}

fn configure(socket: &mut NetlinkSocket, name: &str, addresses: &[Prefix]) -> io::Result<()> {
    let link = find(socket, name)
        .map_err(|refusal| refusal.during(format_args!("look up {name}")))?
        .ok_or(io::ErrorKind::NotFound)?;
    let mut steps: Vec<Message> = addresses
        .iter()
        .map(|prefix| add_address(link.index, *prefix))
        .collect();
    steps.push(set_up(link.index));
    socket
        .transact(&mut steps)
        .map_err(|refusal| match addresses.get(refusal.index) {
            Some(prefix) => refusal.during(format_args!("add address {prefix} to {name}")),
            None => refusal.during(format_args!("bring up {name}")),
        })
}

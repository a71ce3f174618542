//! Routes: add a default route, list what the host can reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Prefix;
use super::message::{ACK, CREATE, DUMP, Message, REPLACE, as_ip, as_u32, attribute};
use super::socket::NetlinkSocket;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u32 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;
const ROUTE_HEADER: usize = 12;

/// A unicast route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Length 0 for a default route.
    pub destination: Prefix,
    pub gateway: Option<IpAddr>,
    /// Index of the device; the first one's of a route with several.
    pub device: Option<u32>,
    pub metric: u32,
    pub table: u32,
}

fn family(address: IpAddr) -> u8 {
    let family = match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    u8::try_from(family).expect("address families are small")
}

/// The message that makes `gateway` behind the device `index` the default route of its family.
pub(super) fn add_default_route(index: u32, gateway: IpAddr) -> Message {
    let mut message = Message::new(RTM_NEWROUTE, ACK | CREATE | REPLACE);
    let mut header = [0; ROUTE_HEADER];
    header[0] = family(gateway);
    header[4] = RT_TABLE_MAIN;
    header[5] = RTPROT_BOOT;
    header[6] = RT_SCOPE_UNIVERSE;
    header[7] = RTN_UNICAST;
    message.fixed(&header);
    message.put_ip(RTA_GATEWAY, gateway);
    message.put_u32(RTA_OIF, index);
    message
}

/// The message that deletes a default route of the main table; `ESRCH` when there is none.
pub(super) fn delete_default_route(ipv6: bool) -> Message {
    let mut message = Message::new(RTM_DELROUTE, ACK);
    let mut header = [0; ROUTE_HEADER];
    header[0] = family(if ipv6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    });
    header[4] = RT_TABLE_MAIN;
    message.fixed(&header);
    message
}

/// The unicast routes of all tables and both families, without the local table.
pub fn routes() -> io::Result<Vec<Route>> {
    let mut message = Message::new(RTM_GETROUTE, DUMP);
    message.fixed(&[0; ROUTE_HEADER]);
    let answers = NetlinkSocket::route()?
        .dump(message)
        .map_err(|refusal| refusal.during("list routes"))?;
    let parsed = answers.iter().filter_map(|answer| parse(&answer.body));
    Ok(parsed.collect())
}

fn parse(bytes: &[u8]) -> Option<Route> {
    let header = bytes.get(..ROUTE_HEADER)?;
    let body = bytes.get(ROUTE_HEADER..)?;
    let unspecified = match i32::from(header[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let table = attribute(body, RTA_TABLE)
        .and_then(as_u32)
        .unwrap_or_else(|| u32::from(header[4]));
    if header[7] != RTN_UNICAST || table == RT_TABLE_LOCAL {
        return None;
    }
    // `struct rtnexthop` holds the index after length, flags and hops.
    let first_hop = attribute(body, RTA_MULTIPATH).and_then(|hops| as_u32(hops.get(4..)?));
    Some(Route {
        destination: Prefix {
            address: attribute(body, RTA_DST)
                .and_then(as_ip)
                .unwrap_or(unspecified),
            length: header[1],
        },
        gateway: attribute(body, RTA_GATEWAY).and_then(as_ip),
        device: attribute(body, RTA_OIF).and_then(as_u32).or(first_hop),
        metric: attribute(body, RTA_PRIORITY).and_then(as_u32).unwrap_or(0),
        table,
    })
}

/// The default route of the main table with the lowest metric, for IPv6 or IPv4.
pub fn default_route(ipv6: bool) -> io::Result<Option<Route>> {
    let found = routes()?.into_iter().filter(|route| {
        route.destination.length == 0
            && route.destination.address.is_ipv6() == ipv6
            && route.table == u32::from(RT_TABLE_MAIN)
    });
    Ok(found.min_by_key(|route| route.metric))
}

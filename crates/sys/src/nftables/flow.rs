//! Forgetting tracked UDP flows, whose address translation would outlive the container that they were sent to.
//!
//! A UDP sender that keeps its port keeps its tracked flow alive, and rules are asked only for new flows: without this
//! its packets go on to an address that nobody has any more, or miss a port that is published now.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::netlink::addresses;
use crate::netlink::message::{ACK, DUMP, Message, as_ip, attribute};

use super::Netfilter;

/// Subsystem 1, connection tracking.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const HEADER: usize = 4;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const CONNECTION_ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ADDRESS_SOURCE: u16 = 1;
const ADDRESS_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const UDP: u8 = 17;

impl Netfilter {
    /// Forgets the IPv4 flows that were sent to one of `ports` of this host, or that `container` answers.
    ///
    /// Returns how many there were; none where the kernel tracks no connections.
    pub fn forget_udp_flows(&self, ports: &[u16], container: IpAddr) -> io::Result<usize> {
        let mut socket = self.socket();
        let family = u8::try_from(libc::AF_INET).expect("address families are small");
        let mut list = Message::new(GET, DUMP);
        list.fixed(&[family, 0, 0, 0]);
        let flows = match socket.dump(list) {
            Ok(flows) => flows,
            Err(refusal) if refusal.is(Errno::INVAL) || refusal.is(Errno::OPNOTSUPP) => {
                return Ok(0);
            }
            Err(refusal) => return Err(refusal.during("list tracked connections")),
        };
        // Other hosts' ports of that number are nobody's business here.
        let own: Vec<IpAddr> = addresses()?
            .iter()
            .map(|address| address.prefix.address)
            .collect();
        let mut forgotten = 0;
        for flow in &flows {
            let body = flow.body.get(HEADER..).unwrap_or_default();
            if !concerns(body, &own, ports, container) {
                continue;
            }
            let mut message = Message::new(DELETE, ACK);
            message.fixed(&[family, 0, 0, 0]);
            for kind in [TUPLE_ORIGINAL, CONNECTION_ID, ZONE] {
                if let Some(value) = attribute(body, kind) {
                    if kind == TUPLE_ORIGINAL {
                        message.nest(kind, |tuple| {
                            tuple.fixed(value);
                        });
                    } else {
                        message.put(kind, value);
                    }
                }
            }
            match socket.transact(&mut [message]) {
                Ok(()) => forgotten += 1,
                // It ended by itself.
                Err(refusal) if refusal.is(Errno::NOENT) => {}
                Err(refusal) => return Err(refusal.during("forget a tracked connection")),
            }
        }
        Ok(forgotten)
    }
}

fn concerns(flow: &[u8], own: &[IpAddr], ports: &[u16], container: IpAddr) -> bool {
    let Some(original) = attribute(flow, TUPLE_ORIGINAL) else {
        return false;
    };
    let protocol = attribute(original, TUPLE_PROTOCOL).unwrap_or_default();
    if attribute(protocol, PROTOCOL_NUMBER) != Some(&[UDP]) {
        return false;
    }
    let port = attribute(protocol, DESTINATION_PORT)
        .and_then(|value| Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?)));
    let called = attribute(original, TUPLE_ADDRESSES)
        .and_then(|addresses| as_ip(attribute(addresses, ADDRESS_DESTINATION)?));
    let answering = attribute(flow, TUPLE_REPLY)
        .and_then(|reply| attribute(attribute(reply, TUPLE_ADDRESSES)?, ADDRESS_SOURCE))
        .and_then(as_ip);
    let published = port.is_some_and(|port| ports.contains(&port))
        && called.is_some_and(|address| own.contains(&address));
    published || answering == Some(container)
}

//! A rule as a chain of conditions and, last, what happens to a packet that meets them all.
//!
//! Registers: a condition loads what it looks at into the first register and compares it there; a map's key fills the
//! first register and the words after it, and the map's value replaces the key.

use crate::netlink::Prefix;
use crate::netlink::message::Message;

use std::net::IpAddr;

use super::{DATA_VALUE, DATA_VERDICT, Family, LIST_ELEMENT};

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

/// `NFT_REG_1`: sixteen bytes, the same place as the words from 8 on.
const REGISTER: u32 = 1;
/// The second and third word of [`REGISTER`].
const SECOND_WORD: u32 = 9;
const THIRD_WORD: u32 = 10;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// Established or related.
const KNOWN_CONNECTION: u32 = 2 | 4;
/// `IPS_DST_NAT`
const DESTINATION_CHANGED: u32 = 1 << 5;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// `RTN_LOCAL`
const LOCAL_ADDRESS: u32 = 2;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const DESTINATION_NAT: u32 = 1;
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const RETURN: i32 = -5;

/// What a rule looks up in a map to learn where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortMapKey {
    /// `meta l4proto . th dport`
    Port,
    /// `ip daddr . meta l4proto . th dport`
    AddressAndPort,
}

/// Which direction of an address translation [`Rule::connection_is`] asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Natted {
    /// The connection's destination was changed.
    Destination,
}

/// The conditions and the outcome of one rule.
#[derive(Debug, Clone)]
pub struct Rule {
    expressions: Message,
}

impl Default for Rule {
    fn default() -> Self {
        Self::new()
    }
}

impl Rule {
    /// Matches every packet and does nothing.
    pub fn new() -> Self {
        Self {
            expressions: Message::fragment(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.expressions.as_bytes()
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Message)) -> Self {
        self.expressions.nest(LIST_ELEMENT, |element| {
            element
                .put_str(EXPRESSION_NAME, name)
                .nest(EXPRESSION_DATA, data);
        });
        self
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", |data| {
            data.put_be32(2, key).put_be32(1, register);
        })
    }

    fn compare(self, operator: u32, value: &[u8]) -> Self {
        self.expression("cmp", |data| {
            data.put_be32(1, REGISTER)
                .put_be32(2, operator)
                .nest(3, |inner| {
                    inner.put(DATA_VALUE, value);
                });
        })
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.expression("payload", |data| {
            data.put_be32(1, register)
                .put_be32(2, base)
                .put_be32(3, offset)
                .put_be32(4, length);
        })
    }

    /// Keeps the bits of `mask` in the register.
    fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).expect("masks are short");
        self.expression("bitwise", |data| {
            data.put_be32(1, REGISTER)
                .put_be32(2, REGISTER)
                .put_be32(3, length)
                .nest(4, |inner| {
                    inner.put(DATA_VALUE, mask);
                })
                .nest(5, |inner| {
                    inner.put(DATA_VALUE, &vec![0; mask.len()]);
                });
        })
    }

    fn device(self, key: u32, operator: u32, name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        // iptables compares a whole name with its zero, and no more.
        bytes.push(0);
        self.meta(key, REGISTER).compare(operator, &bytes)
    }

    /// `iifname "name"`
    #[must_use]
    pub fn input_is(self, name: &str) -> Self {
        self.device(META_IIFNAME, EQUAL, name)
    }

    /// `oifname "name"`
    #[must_use]
    pub fn output_is(self, name: &str) -> Self {
        self.device(META_OIFNAME, EQUAL, name)
    }

    /// `oifname != "name"`
    #[must_use]
    pub fn output_is_not(self, name: &str) -> Self {
        self.device(META_OIFNAME, NOT_EQUAL, name)
    }

    fn address(self, prefix: Prefix, offset4: u32, offset6: u32) -> Self {
        match prefix.network() {
            IpAddr::V4(network) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length));
                self.payload(NETWORK_HEADER, offset4, 4, REGISTER)
                    .mask(&mask.unwrap_or(0).to_be_bytes())
                    .compare(EQUAL, &network.octets())
            }
            IpAddr::V6(network) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix.length));
                self.payload(NETWORK_HEADER, offset6, 16, REGISTER)
                    .mask(&mask.unwrap_or(0).to_be_bytes())
                    .compare(EQUAL, &network.octets())
            }
        }
    }

    /// `ip saddr prefix`
    #[must_use]
    pub fn source_in(self, prefix: Prefix) -> Self {
        self.address(prefix, 12, 8)
    }

    /// `ip daddr prefix`
    #[must_use]
    pub fn destination_in(self, prefix: Prefix) -> Self {
        self.address(prefix, 16, 24)
    }

    /// `fib daddr type local`: the packet is for one of the host's own addresses.
    #[must_use]
    pub fn destination_is_local(self) -> Self {
        self.expression("fib", |data| {
            data.put_be32(1, REGISTER)
                .put_be32(2, FIB_ADDRESS_TYPE)
                .put_be32(3, FIB_DESTINATION);
        })
        .compare(EQUAL, &LOCAL_ADDRESS.to_ne_bytes())
    }

    fn connection(self, key: u32, bits: u32) -> Self {
        self.expression("ct", |data| {
            data.put_be32(2, key).put_be32(1, REGISTER);
        })
        .mask(&bits.to_ne_bytes())
        .compare(NOT_EQUAL, &0_u32.to_ne_bytes())
    }

    /// `ct state established,related`
    #[must_use]
    pub fn connection_is_known(self) -> Self {
        self.connection(CT_STATE, KNOWN_CONNECTION)
    }

    /// `ct status dnat`
    #[must_use]
    pub fn connection_is(self, natted: Natted) -> Self {
        match natted {
            Natted::Destination => self.connection(CT_STATUS, DESTINATION_CHANGED),
        }
    }

    /// Counts packets and bytes; iptables expects it in every rule.
    #[must_use]
    pub fn counted(self) -> Self {
        self.expression("counter", |data| {
            data.put(1, &[0; 8]).put(2, &[0; 8]);
        })
    }

    fn verdict(self, code: i32) -> Self {
        self.expression("immediate", |data| {
            data.put_be32(1, 0).nest(2, |inner| {
                inner.nest(DATA_VERDICT, |verdict| {
                    verdict.put(1, &code.to_be_bytes());
                });
            });
        })
    }

    /// Ends the chain, and all chains of this priority, in the packet's favour.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(ACCEPT)
    }

    /// Discards the packet.
    #[must_use]
    pub fn drop(self) -> Self {
        self.verdict(DROP)
    }

    /// Leaves the chain.
    #[must_use]
    pub fn leave(self) -> Self {
        self.verdict(RETURN)
    }

    /// Changes the source to the address of the device that the packet leaves by.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    /// `dnat ip to <key> map @map`: the map holds an IPv4 address and a port for each key. Goes on with the next rule
    /// when the map has no such key.
    #[must_use]
    pub fn redirect_by(self, key: PortMapKey, map: &str) -> Self {
        let loaded = match key {
            PortMapKey::Port => {
                self.meta(META_L4PROTO, REGISTER)
                    .payload(TRANSPORT_HEADER, 2, 2, SECOND_WORD)
            }
            PortMapKey::AddressAndPort => self
                .payload(NETWORK_HEADER, 16, 4, REGISTER)
                .meta(META_L4PROTO, SECOND_WORD)
                .payload(TRANSPORT_HEADER, 2, 2, THIRD_WORD),
        };
        loaded
            .expression("lookup", |data| {
                data.put_str(1, map)
                    .put_be32(2, REGISTER)
                    .put_be32(3, REGISTER);
            })
            .expression("nat", |data| {
                data.put_be32(1, DESTINATION_NAT)
                    .put_be32(2, u32::from(Family::Ip.number()))
                    .put_be32(3, REGISTER)
                    .put_be32(5, SECOND_WORD);
            })
    }
}

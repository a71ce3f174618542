//! Addresses of devices, and the text form of an address with its prefix.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::message::{ACK, CREATE, DUMP, Message, REPLACE, as_ip, as_u32, attribute};
use super::socket::NetlinkSocket;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// `IFA_F_NODAD`: usable at once, because the address is ours by construction.
const IFA_F_NODAD: u8 = 0x02;
const ADDRESS_HEADER: usize = 8;

/// An address and the length of its network prefix: `172.17.0.2/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    /// The first address of the prefix.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length));
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or(0)))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length));
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0)))
            }
        }
    }

    /// Whether `address` lies in the prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self {
                address,
                length: self.length,
            }
            .network()
                == self.network()
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.length <= other.length {
            self.contains(other.address)
        } else {
            other.contains(self.address)
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

/// The text is not an address with a prefix length.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not an address with a prefix length")]
pub struct InvalidPrefix(String);

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let parsed = text.split_once('/').and_then(|(address, length)| {
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (length <= longest).then_some(Self { address, length })
        });
        parsed.ok_or_else(|| InvalidPrefix(text.to_owned()))
    }
}

/// An address of the device `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub index: u32,
    pub prefix: Prefix,
}

/// The message that gives the device `index` an address; it is not an error that it has it already.
pub(super) fn add_address(index: u32, prefix: Prefix) -> Message {
    let mut message = Message::new(RTM_NEWADDR, ACK | CREATE | REPLACE);
    let (family, flags) = match prefix.address {
        IpAddr::V4(_) => (libc::AF_INET, 0),
        IpAddr::V6(_) => (libc::AF_INET6, IFA_F_NODAD),
    };
    let mut header = [0; ADDRESS_HEADER];
    header[0] = u8::try_from(family).expect("address families are small");
    header[1] = prefix.length;
    header[2] = flags;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    message.fixed(&header);
    message.put_ip(IFA_LOCAL, prefix.address);
    message.put_ip(IFA_ADDRESS, prefix.address);
    if let IpAddr::V4(address) = prefix.address
        && prefix.length < 31
    {
        let host = u32::MAX >> prefix.length;
        let broadcast = Ipv4Addr::from_bits(address.to_bits() | host);
        message.put_ip(IFA_BROADCAST, IpAddr::V4(broadcast));
    }
    message
}

/// The addresses of all devices, both families.
pub fn addresses() -> io::Result<Vec<Address>> {
    let mut message = Message::new(RTM_GETADDR, DUMP);
    message.fixed(&[0; ADDRESS_HEADER]);
    let answers = NetlinkSocket::route()?
        .dump(message)
        .map_err(|refusal| refusal.during("list addresses"))?;
    let parsed = answers.iter().filter_map(|answer| {
        let body = answer.body.get(ADDRESS_HEADER..)?;
        // On point-to-point links IFA_ADDRESS is the other side.
        let address = attribute(body, IFA_LOCAL).or_else(|| attribute(body, IFA_ADDRESS))?;
        Some(Address {
            index: as_u32(answer.body.get(4..)?)?,
            prefix: Prefix {
                address: as_ip(address)?,
                length: *answer.body.get(1)?,
            },
        })
    });
    Ok(parsed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap_when_one_holds_the_other() {
        let table = [
            ("172.17.0.0/16", "172.17.4.1/24", true),
            ("172.17.4.1/24", "172.17.0.0/16", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("10.0.0.1/32", "10.0.0.1/32", true),
            ("fd00::/64", "fd00::5/128", true),
            ("fd00::/64", "172.17.0.0/16", false),
        ];
        for (left, right, expected) in table {
            let (a, b): (Prefix, Prefix) = (left.parse().expect(left), right.parse().expect(right));
            assert_eq!(a.overlaps(&b), expected, "{left} {right}");
        }
    }

    #[test]
    fn malformed_prefixes_are_refused() {
        for text in [
            "",
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3/8",
            "fd00::/129",
            "a/8",
            "1.2.3.4/-1",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}

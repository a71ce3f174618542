//! Which addresses the network has, and the file that remembers it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::netlink::Prefix;

use super::NetworkError;

/// A smaller network has no room for containers.
const LONGEST_PREFIX: u8 = 29;
/// A larger one would not leave the host much.
const SHORTEST_PREFIX: u8 = 8;

/// Addresses of the bridge; containers get theirs from the same prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Address of the bridge and prefix of the network.
    pub(super) gateway: Ipv4Addr,
    pub(super) length: u8,
    /// The bridge's IPv6 address.
    pub(super) gateway6: Option<Ipv6Addr>,
    pub(super) length6: u8,
}

/// Length of an IPv6 prefix that nobody chose.
pub(super) const LENGTH6: u8 = 64;

impl Layout {
    pub(super) fn bridge_address(&self) -> Prefix {
        Prefix {
            address: IpAddr::V4(self.gateway),
            length: self.length,
        }
    }

    pub(super) fn bridge_address6(&self) -> Option<Prefix> {
        Some(Prefix {
            address: IpAddr::V6(self.gateway6?),
            length: self.length6,
        })
    }

    /// `172.17.0.0/16`
    pub(super) fn subnet(&self) -> Prefix {
        let address = self.bridge_address();
        Prefix {
            address: address.network(),
            length: self.length,
        }
    }

    pub(super) fn subnet6(&self) -> Option<Prefix> {
        let address = self.bridge_address6()?;
        Some(Prefix {
            address: address.network(),
            length: self.length6,
        })
    }

    /// A container's IPv6 address ends like its IPv4 address: its distance from the network's start.
    pub(super) fn address6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let IpAddr::V6(start) = self.subnet6()?.address else {
            return None;
        };
        let IpAddr::V4(start4) = self.subnet().address else {
            return None;
        };
        let distance = address.to_bits().checked_sub(start4.to_bits())?;
        Some(Ipv6Addr::from_bits(start.to_bits() + u128::from(distance)))
    }

    pub(super) fn with_ipv6(self, tag: &str, on: bool) -> Self {
        Self {
            gateway6: on.then(|| gateway6(tag)),
            length6: LENGTH6,
            ..self
        }
    }
}

/// A bridge's address in a unique local prefix (RFC 4193) derived from a tag.
pub(super) fn gateway6(tag: &str) -> Ipv6Addr {
    let digest = Sha256::digest(tag.as_bytes());
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&digest[..5]);
    octets[15] = 1;
    Ipv6Addr::from(octets)
}

/// A layout around a prefix: a network address means that the bridge has the first host's.
pub(super) fn around(prefix: Prefix) -> Option<Layout> {
    let IpAddr::V4(address) = prefix.address else {
        return None;
    };
    if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&prefix.length) {
        return None;
    }
    let IpAddr::V4(network) = prefix.network() else {
        return None;
    };
    let broadcast = network.to_bits() | (u32::MAX >> prefix.length);
    let gateway = if address == network {
        Ipv4Addr::from_bits(network.to_bits() + 1)
    } else {
        address
    };
    (gateway.to_bits() != broadcast).then_some(Layout {
        gateway,
        length: prefix.length,
        gateway6: None,
        length6: LENGTH6,
    })
}

/// The layout that a configured subnet asks for.
pub(super) fn from_config(text: &str) -> Result<Layout, NetworkError> {
    text.parse()
        .ok()
        .and_then(around)
        .ok_or_else(|| NetworkError::InvalidSubnet(text.to_owned()))
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// `172.17.0.1/16`
    bridge_address: String,
}

/// What [`write`] remembered; `None` before the first time.
pub(super) fn read(path: &Path) -> Result<Option<Layout>, NetworkError> {
    let failed = |source| NetworkError::Remembered {
        path: path.to_owned(),
        source,
    };
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed)?,
    };
    let remembered: Remembered =
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    match from_config(&remembered.bridge_address) {
        Ok(layout) => Ok(Some(layout)),
        Err(error) => Err(failed(io::Error::new(io::ErrorKind::InvalidData, error))),
    }
}

/// Remembers the subnet durably; costs no write when it is what the file says already.
pub(super) fn write(path: &Path, layout: &Layout) -> Result<(), NetworkError> {
    if read(path)?.is_some_and(|old| old.bridge_address() == layout.bridge_address()) {
        return Ok(());
    }
    let remembered = Remembered {
        bridge_address: layout.bridge_address().to_string(),
    };
    let bytes = serde_json::to_vec(&remembered).expect("a string is always JSON");
    sys::durable::write_atomic(path, &bytes, 0o600).map_err(|source| NetworkError::Remember {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_subnets() {
        let table = [
            ("172.30.0.0/16", Some("172.30.0.1/16")),
            ("172.30.0.5/16", Some("172.30.0.5/16")),
            ("192.168.9.0/24", Some("192.168.9.1/24")),
            ("192.168.9.255/24", None),
            ("192.168.9.0/30", None),
            ("fd00::/64", None),
            ("172.30.0.1", None),
            ("0.0.0.0/0", None),
        ];
        for (text, expected) in table {
            let found = from_config(text).ok();
            let found = found.map(|layout| layout.bridge_address().to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ipv6_addresses_follow_ipv4_addresses() {
        let layout = from_config("172.17.0.0/16").unwrap().with_ipv6("abc", true);
        let gateway = layout.gateway6.unwrap();
        assert_eq!(layout.address6(layout.gateway), Some(gateway));
        let other = layout.address6(Ipv4Addr::new(172, 17, 1, 2)).unwrap();
        assert_eq!(other.to_bits() - gateway.to_bits(), 257);
        assert_eq!(gateway.segments()[0] >> 8, 0xfd);
        assert_eq!(
            layout.with_ipv6("abc", false).address6(layout.gateway),
            None
        );
    }

    #[test]
    fn remembered_layouts_are_read_back() {
        let path = std::env::temp_dir().join(format!("orlop-layout-{}", std::process::id()));
        assert!(read(&path).unwrap().is_none());
        let layout = from_config("192.168.32.7/20").unwrap();
        write(&path, &layout).unwrap();
        assert_eq!(read(&path).unwrap(), Some(layout));
        for damage in ["", "{}", r#"{"bridge_address":"x"}"#] {
            std::fs::write(&path, damage).unwrap();
            assert!(matches!(read(&path), Err(NetworkError::Remembered { .. })));
        }
        std::fs::remove_file(&path).unwrap();
    }
}

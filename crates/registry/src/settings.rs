//! Which registries are asked first, and which ones need no TLS.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use crate::error::RegistryError;

/// Settings of one client, in Docker's terms.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URLs that are asked for Docker Hub's images before Docker Hub.
    pub mirrors: Vec<String>,
    /// `host`, `host:port` or a network (`10.0.0.0/8`) that may answer without TLS, or with a certificate nobody knows.
    /// The loopback networks always belong to them.
    pub insecure: Vec<String>,
    /// Below it `HOST:PORT/*.crt` are further authorities of one registry, `*.cert` and `*.key` what it is shown.
    pub certificates: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
        }
    }
}

impl Settings {
    /// # Errors
    /// [`RegistryError::Setting`] with a sentence about the first value that cannot be.
    pub fn check(&self) -> Result<(), RegistryError> {
        for mirror in &self.mirrors {
            let rest = mirror
                .strip_prefix("https://")
                .or_else(|| mirror.strip_prefix("http://"));
            let why = match rest.map(|rest| rest.trim_end_matches('/')) {
                None => "it must begin with https:// or http://",
                Some("") => "it names no host",
                Some(rest) if rest.contains(['?', '#', '@', '/']) => {
                    "path, user, query or fragment are not possible"
                }
                Some(_) => continue,
            };
            return Err(RegistryError::Setting(format!(
                "invalid mirror: {mirror}: {why}"
            )));
        }
        for insecure in &self.insecure {
            let bad = insecure.is_empty()
                || insecure.contains("://")
                || (insecure.contains('/') && Network::parse(insecure).is_none());
            if bad {
                return Err(RegistryError::Setting(format!(
                    "insecure registry {insecure} is not valid: a host, host:port or network is needed"
                )));
            }
        }
        Ok(())
    }

    /// Whether a registry (`host` or `host:port`) may be spoken to without TLS.
    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        let (host, _) = split_port(registry);
        if self
            .insecure
            .iter()
            .any(|known| known == registry || known == host)
        {
            return true;
        }
        let addresses: Vec<IpAddr> = match host.parse() {
            Ok(address) => vec![address],
            Err(_) if host == "localhost" => return true,
            // Looking a name up is only worth it where a network was configured.
            Err(_) if !self.insecure.iter().any(|known| known.contains('/')) => Vec::new(),
            Err(_) => (host, 0)
                .to_socket_addrs()
                .map(|found| found.map(|address| address.ip()).collect())
                .unwrap_or_default(),
        };
        addresses.iter().any(|address| {
            address.is_loopback()
                || self
                    .insecure
                    .iter()
                    .filter_map(|known| Network::parse(known))
                    .any(|network| network.holds(*address))
        })
    }
}

/// `[::1]:5000` to `::1` and the port.
pub(crate) fn split_port(registry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = registry.strip_prefix('[') {
        let (host, after) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, after.strip_prefix(':'));
    }
    match registry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (registry, None),
    }
}

#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u32 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    fn holds(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_no_tls() {
        let settings = Settings {
            insecure: ["plain.example:5000", "other.example", "10.1.0.0/16"]
                .map(str::to_owned)
                .to_vec(),
            ..Settings::default()
        };
        settings.check().expect("valid");
        for (registry, insecure) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("plain.example:5000", true),
            ("plain.example:5001", false),
            ("other.example:5001", true),
            ("10.1.2.3:80", true),
            ("10.2.2.3:80", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(settings.is_insecure(registry), insecure, "{registry}");
        }
    }

    #[test]
    fn what_is_no_setting() {
        for mirror in [
            "mirror.example",
            "https://",
            "https://a/b",
            "https://a?x",
            "ftp://a",
        ] {
            let settings = Settings {
                mirrors: vec![mirror.to_owned()],
                ..Settings::default()
            };
            assert!(settings.check().is_err(), "{mirror}");
        }
        for insecure in ["", "http://a", "a/b", "10.0.0.0/33"] {
            let settings = Settings {
                insecure: vec![insecure.to_owned()],
                ..Settings::default()
            };
            assert!(settings.check().is_err(), "{insecure}");
        }
    }
}

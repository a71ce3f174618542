//! Choosing a subnet that collides with nothing the host can reach.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use sys::lock::FileLock;
use sys::netlink::{Prefix, addresses, links, routes};

use super::NetworkError;
use super::layout::{Layout, around};

/// Engines of different roots choose one after the other; between choosing and making the bridge the lock is held.
const LOCK: &str = "/run/lock/orlop-subnets.lock";

/// Holds off other engines of this host.
#[expect(
    clippy::disallowed_methods,
    reason = "below /run nothing needs to survive"
)]
pub(super) fn lock() -> Result<FileLock, NetworkError> {
    let path = Path::new(LOCK);
    let failed = |source| NetworkError::Lock {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    FileLock::exclusive(path).map_err(failed)
}

/// The networks that the host has or can reach, except by a default route and by the device `except`.
pub(super) fn taken(except: &str) -> Result<Vec<Prefix>, NetworkError> {
    let own = links()
        .map_err(NetworkError::device("list network devices"))?
        .into_iter()
        .find(|link| link.name == except)
        .map(|link| link.index);
    let routes = routes().map_err(NetworkError::device("list routes"))?;
    let addresses = addresses().map_err(NetworkError::device("list addresses"))?;
    let reached = routes
        .iter()
        .filter(|route| own.is_none() || route.device != own)
        .map(|route| route.destination);
    let held = addresses
        .iter()
        .filter(|address| Some(address.index) != own)
        .map(|address| address.prefix);
    Ok(reached
        .chain(held)
        .filter(|prefix| prefix.length > 0)
        .collect())
}

/// Docker's pools: sixteen bits in 172.17–172.31, then twenty in 192.168.
fn candidates() -> impl Iterator<Item = Prefix> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
    large.chain(small).map(|(address, length)| Prefix {
        address: IpAddr::V4(address),
        length,
    })
}

/// Whether a network is free.
pub(super) fn is_free(subnet: Prefix, taken: &[Prefix]) -> bool {
    !taken.iter().any(|other| other.overlaps(&subnet))
}

/// The first of Docker's pools that is free.
pub(super) fn choose(taken: &[Prefix]) -> Result<Layout, NetworkError> {
    candidates()
        .find(|candidate| is_free(*candidate, taken))
        .and_then(around)
        .ok_or(NetworkError::NoFreeSubnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_free_pool() {
        let all: Vec<String> = candidates().map(|prefix| prefix.to_string()).collect();
        let large: Vec<String> = all[..15].to_vec();
        let table: [(Vec<String>, Option<&str>); 5] = [
            (vec![], Some("172.17.0.0/16")),
            (vec!["172.17.0.1/16".to_owned()], Some("172.18.0.0/16")),
            (vec!["172.16.0.0/12".to_owned()], Some("192.168.0.0/20")),
            (
                [large, vec!["192.168.1.77/32".to_owned()]].concat(),
                Some("192.168.16.0/20"),
            ),
            (all, None),
        ];
        for (taken, expected) in table {
            let taken: Vec<Prefix> = taken.iter().map(|text| text.parse().unwrap()).collect();
            let chosen = choose(&taken).ok();
            let chosen = chosen.map(|layout| layout.subnet().to_string());
            assert_eq!(chosen.as_deref(), expected, "{taken:?}");
        }
    }
}

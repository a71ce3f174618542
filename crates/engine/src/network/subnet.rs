//! Choosing a subnet that collides with nothing the host can reach.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use sys::lock::FileLock;
use sys::netlink::{Prefix, addresses, links, routes};

use super::layout::{Layout, around};
use super::{AddressPool, NetworkError};

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

/// The first subnet of the configured pools, or else of Docker's, that is free.
pub(super) fn choose(pools: &[AddressPool], taken: &[Prefix]) -> Result<Layout, NetworkError> {
    let configured = pools.iter().filter_map(pieces).flatten();
    let usual = candidates().filter(|_| pools.is_empty());
    configured
        .chain(usual)
        .find(|candidate| is_free(*candidate, taken))
        .and_then(around)
        .ok_or(NetworkError::NoFreeSubnet)
}

/// The subnets that an IPv4 pool is cut into; `None` when it cannot be.
fn pieces(pool: &AddressPool) -> Option<impl Iterator<Item = Prefix>> {
    let base: Prefix = pool.base.parse().ok()?;
    let IpAddr::V4(start) = base.network() else {
        return None;
    };
    let length = pool.size;
    if length < base.length
        || around(Prefix {
            address: base.network(),
            length,
        })
        .is_none()
    {
        return None;
    }
    let count = 1_u64 << (length - base.length);
    let step = 1_u64 << (32 - length);
    Some((0..count).filter_map(move |number| {
        let bits = u64::from(start.to_bits()) + number * step;
        Some(Prefix {
            address: IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?)),
            length,
        })
    }))
}

/// # Errors
/// [`NetworkError::InvalidPool`] for one that gives no subnet.
pub(super) fn check_pools(pools: &[AddressPool]) -> Result<(), NetworkError> {
    let v6 = |pool: &AddressPool| {
        let base = pool.base.parse::<Prefix>();
        // Networks have an IPv6 prefix of their own when nobody chose one.
        base.is_ok_and(|base| base.address.is_ipv6() && pool.size >= base.length)
    };
    match pools
        .iter()
        .find(|pool| pieces(pool).is_none() && !v6(pool))
    {
        Some(pool) => Err(NetworkError::InvalidPool(format!(
            "{} size {}",
            pool.base, pool.size
        ))),
        None => Ok(()),
    }
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
            let chosen = choose(&[], &taken).ok();
            let chosen = chosen.map(|layout| layout.subnet().to_string());
            assert_eq!(chosen.as_deref(), expected, "{taken:?}");
        }
    }

    #[test]
    fn configured_pools() {
        let pool = |base: &str, size| AddressPool {
            base: base.to_owned(),
            size,
        };
        let pools = [pool("10.10.0.0/23", 24), pool("10.20.0.0/16", 20)];
        check_pools(&pools).unwrap();
        let mut taken = Vec::new();
        let mut chosen = Vec::new();
        for _ in 0..4 {
            let layout = choose(&pools, &taken).unwrap();
            chosen.push(layout.subnet().to_string());
            taken.push(layout.subnet());
        }
        assert_eq!(
            chosen,
            [
                "10.10.0.0/24",
                "10.10.1.0/24",
                "10.20.0.0/20",
                "10.20.16.0/20"
            ]
        );
        for wrong in [
            pool("10.0.0.0/16", 8),
            pool("x", 24),
            pool("10.0.0.0/16", 31),
        ] {
            assert!(
                check_pools(std::slice::from_ref(&wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }
}

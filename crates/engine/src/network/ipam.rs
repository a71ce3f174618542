//! Addresses of one subnet: who has which is decided by the caller, which are free is known here.
//!
//! The network's own address, its broadcast address and the bridge's are never handed out. The next address is the
//! lowest free one after the last, so that an address rests as long as possible before somebody else gets it: what
//! others remember of it (neighbour tables, tracked flows) has time to go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use sys::netlink::Prefix;

use super::layout::Layout;

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    first: u32,
    last: u32,
    /// From which addresses are handed out that nobody chose.
    pool: (u32, u32),
    gateway: u32,
    /// The bridge's address is always among them.
    taken: BTreeSet<u32>,
    latest: u32,
}

impl Addresses {
    pub(super) fn new(layout: &Layout) -> Self {
        let IpAddr::V4(network) = layout.subnet().address else {
            unreachable!("a layout's subnet is IPv4");
        };
        let network = network.to_bits();
        let (first, last) = (network + 1, (network | (u32::MAX >> layout.length)) - 1);
        Self {
            first,
            last,
            pool: (first, last),
            gateway: layout.gateway.to_bits(),
            taken: BTreeSet::from([layout.gateway.to_bits()]),
            latest: network,
        }
    }

    /// Only addresses of `range` are handed out, and none of `reserved`.
    pub(super) fn narrowed(
        mut self,
        range: Option<Prefix>,
        reserved: impl Iterator<Item = Ipv4Addr>,
    ) -> Self {
        if let Some(Prefix {
            address: IpAddr::V4(start),
            length,
        }) = range
        {
            let end = start.to_bits() | u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            self.pool = (start.to_bits().max(self.first), end.min(self.last));
            self.latest = self.pool.0.saturating_sub(1);
        }
        self.taken.extend(reserved.map(Ipv4Addr::to_bits));
        self
    }

    /// Takes a free address; `None` when there is none.
    pub(super) fn allocate(&mut self) -> Option<Ipv4Addr> {
        let (first, last) = self.pool;
        if first > last {
            return None;
        }
        let after = self.latest.saturating_add(1).clamp(first, last);
        let found = self
            .free_in(after, last)
            .or_else(|| self.free_in(first, after))?;
        self.taken.insert(found);
        self.latest = found;
        Some(Ipv4Addr::from_bits(found))
    }

    fn free_in(&self, from: u32, to: u32) -> Option<u32> {
        let mut candidate = from;
        for taken in self.taken.range(from..=to) {
            if *taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate <= to).then_some(candidate)
    }

    /// Takes this address. False when it is taken or not in the subnet.
    pub(super) fn reserve(&mut self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        if !(self.first..=self.last).contains(&bits) || !self.taken.insert(bits) {
            return false;
        }
        if (self.pool.0..=self.pool.1).contains(&bits) {
            self.latest = self.latest.max(bits);
        }
        true
    }

    /// Gives an address back; it is not an error that it is free.
    pub(super) fn release(&mut self, address: Ipv4Addr) {
        if address.to_bits() != self.gateway {
            self.taken.remove(&address.to_bits());
        }
    }
}

/// The hardware address that goes with an address: neighbours that remember it are right again.
pub(super) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:11:00:02`
pub(super) fn mac_text(address: Ipv4Addr) -> String {
    mac(address).map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::layout::from_config;
    use super::*;

    fn addresses(subnet: &str) -> Addresses {
        Addresses::new(&from_config(subnet).unwrap())
    }

    #[test]
    fn starts_after_the_gateway_and_moves_on() {
        let mut pool = addresses("172.17.0.0/16");
        let second = pool.allocate().unwrap();
        assert_eq!(second, Ipv4Addr::new(172, 17, 0, 2));
        pool.release(second);
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(172, 17, 0, 3)));
        assert_eq!(mac_text(second), "02:42:ac:11:00:02");
    }

    #[test]
    fn reserved_addresses_are_left_out() {
        let mut pool = addresses("10.0.0.0/29");
        assert!(pool.reserve(Ipv4Addr::new(10, 0, 0, 3)));
        for refused in [0, 1, 3, 7, 8] {
            assert!(!pool.reserve(Ipv4Addr::new(10, 0, 0, refused)), "{refused}");
        }
        let rest: Vec<u8> = std::iter::from_fn(|| pool.allocate())
            .map(|address| address.octets()[3])
            .collect();
        assert_eq!(rest, [4, 5, 6, 2]);
    }

    #[test]
    fn a_range_is_kept_to() {
        let range = "10.1.0.64/29".parse().unwrap();
        let reserved = [Ipv4Addr::new(10, 1, 0, 66)];
        let mut pool = addresses("10.1.0.0/24").narrowed(Some(range), reserved.into_iter());
        assert!(pool.reserve(Ipv4Addr::new(10, 1, 0, 200)));
        assert!(!pool.reserve(reserved[0]));
        let all: Vec<u8> = std::iter::from_fn(|| pool.allocate())
            .map(|address| address.octets()[3])
            .collect();
        assert_eq!(all, [64, 65, 67, 68, 69, 70, 71]);
    }

    /// Every sequence of takes and gives hands out only usable addresses, none twice, and all before it refuses.
    #[test]
    fn any_sequence_of_operations_keeps_addresses_apart() {
        for (subnet, capacity) in [
            ("10.0.0.0/29", 5),
            ("10.0.0.3/29", 5),
            ("10.0.0.6/29", 5),
            ("10.1.0.0/28", 13),
        ] {
            let layout = from_config(subnet).unwrap();
            for seed in 1..200_u64 {
                let mut random = seed;
                let mut pool = Addresses::new(&layout);
                let mut held: Vec<Ipv4Addr> = Vec::new();
                for _ in 0..200 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    if random % 3 == 0 && !held.is_empty() {
                        let at = usize::try_from(random >> 8).unwrap() % held.len();
                        pool.release(held.swap_remove(at));
                        continue;
                    }
                    match pool.allocate() {
                        Some(address) => held.push(address),
                        None => assert_eq!(held.len(), capacity, "{subnet} seed {seed}"),
                    }
                    assert!(held.len() <= capacity);
                    let apart: HashSet<_> = held.iter().collect();
                    assert_eq!(apart.len(), held.len(), "{subnet} seed {seed}");
                    let last = layout.gateway.to_bits() | (u32::MAX >> layout.length);
                    let usable = |address: &Ipv4Addr| {
                        layout.subnet().contains(IpAddr::V4(*address))
                            && IpAddr::V4(*address) != layout.subnet().address
                            && *address != layout.gateway
                            && address.to_bits() != last
                    };
                    assert!(held.iter().all(usable), "{subnet} {held:?}");
                }
            }
        }
    }
}

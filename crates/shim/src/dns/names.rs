//! What neighbours are called: a directory for each network, a file for each container.
//!
//! A directory that has not changed is not read again. Its time of change is only as fine as the kernel's tick, so what was
//! read right after a change is not trusted to be all of it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use shim_protocol::spec::{Member, Resolver};

/// Changes within this time of each other may look like one.
const TICK: Duration = Duration::from_millis(50);

/// Length of the name of a container's file.
const ID: usize = 64;

/// Addresses that a name has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

#[derive(Debug, Default)]
struct Table {
    /// When the directory was changed last, if what was read then is complete.
    changed: Option<SystemTime>,
    by_name: HashMap<String, Addresses>,
    by_address: HashMap<IpAddr, String>,
}

/// The names of all networks that were asked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: BTreeMap<String, Table>,
    random: u64,
}

impl Names {
    /// The addresses of `name`, lower case, without the last dot: from the first network that knows it, in an order that
    /// differs from time to time.
    pub(crate) fn find(&mut self, config: &Resolver, name: &str) -> Option<Addresses> {
        for network in &config.networks {
            let suffix = format!(".{}", network.name.to_lowercase());
            let table = self.table(&config.names, &network.id);
            for wanted in [Some(name), name.strip_suffix(&suffix)]
                .into_iter()
                .flatten()
            {
                let linked = network
                    .links
                    .iter()
                    .filter(|(alias, _)| alias.to_lowercase() == wanted)
                    .find_map(|(_, other)| table.by_name.get(&other.to_lowercase()));
                if let Some(found) = linked.or_else(|| table.by_name.get(wanted)) {
                    let mut found = found.clone();
                    self.shuffle(&mut found.v4);
                    self.shuffle(&mut found.v6);
                    return Some(found);
                }
            }
        }
        None
    }

    /// What the container with `address` is called, with its network.
    pub(crate) fn reverse(&mut self, config: &Resolver, address: IpAddr) -> Option<String> {
        config.networks.iter().find_map(|network| {
            let table = self.table(&config.names, &network.id);
            let name = table.by_address.get(&address)?;
            Some(format!("{name}.{}", network.name))
        })
    }

    fn table(&mut self, names: &Path, network: &str) -> &Table {
        let table = self.tables.entry(network.to_owned()).or_default();
        let directory = names.join(network);
        let changed = std::fs::metadata(&directory)
            .and_then(|metadata| metadata.modified())
            .ok();
        if changed.is_none() || table.changed != changed {
            let now = SystemTime::now();
            *table = read(&directory);
            table.changed = changed.filter(|changed| {
                now.duration_since(*changed)
                    .is_ok_and(|passed| passed > TICK)
            });
        }
        table
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            // Good enough to spread load, which is all that it is for.
            if self.random == 0 {
                self.random = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(1, |since| u64::from(since.subsec_nanos()) << 16 | 1);
            }
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let length = u64::try_from(at + 1).expect("lists are short");
            let other = usize::try_from(self.random % length).expect("below the length");
            list.swap(at, other);
        }
    }
}

fn read(directory: &Path) -> Table {
    let mut table = Table::default();
    // A network without a directory has nobody on it.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        // Files that are being written have other names.
        if entry.file_name().len() != ID {
            continue;
        }
        let member = std::fs::read(entry.path())
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Member>(&bytes).ok());
        if let Some(member) = member {
            table.add(&member);
        }
    }
    table
}

impl Table {
    fn add(&mut self, member: &Member) {
        let v4: Option<Ipv4Addr> = member.address.parse().ok();
        let v6: Option<Ipv6Addr> = member.address6.as_ref().and_then(|text| text.parse().ok());
        for name in &member.names {
            let known = self.by_name.entry(name.to_lowercase()).or_default();
            known.v4.extend(v4.filter(|new| !known.v4.contains(new)));
            known.v6.extend(v6.filter(|new| !known.v6.contains(new)));
        }
        if let Some(name) = member.names.first() {
            for address in [v4.map(IpAddr::V4), v6.map(IpAddr::V6)]
                .into_iter()
                .flatten()
            {
                self.by_address.insert(address, name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shim_protocol::spec::ResolverNetwork;

    use super::*;

    pub(super) struct Scratch(pub(super) std::path::PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("orlop-names-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("n1")).unwrap();
        Scratch(path)
    }

    fn member(scratch: &Scratch, number: u8, names: &[&str]) {
        let member = Member {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            address: format!("10.0.0.{number}"),
            address6: None,
        };
        let path = scratch.0.join("n1").join(format!("{number:064}"));
        std::fs::write(path, serde_json::to_vec(&member).unwrap()).unwrap();
    }

    fn config(scratch: &Scratch) -> Resolver {
        let network = |id: &str, name: &str| ResolverNetwork {
            id: id.to_owned(),
            name: name.to_owned(),
            links: vec![("db".to_owned(), "Web".to_owned())],
        };
        Resolver {
            names: scratch.0.clone(),
            networks: vec![network("n0", "none"), network("n1", "Front")],
            upstream: Vec::new(),
            forward: false,
            forward_single: true,
        }
    }

    #[test]
    fn names_follow_the_directory() {
        let scratch = scratch("follow");
        let config = config(&scratch);
        let mut names = Names::default();
        assert_eq!(names.find(&config, "web"), None);
        member(&scratch, 2, &["Web", "all"]);
        std::fs::write(scratch.0.join("n1/half"), "{").unwrap();
        let web = names.find(&config, "web").unwrap();
        assert_eq!(web.v4, [Ipv4Addr::new(10, 0, 0, 2)]);
        for same in ["web.front", "db", "db.front"] {
            assert_eq!(names.find(&config, same), Some(web.clone()), "{same}");
        }
        assert_eq!(names.find(&config, "web.other"), None);
        for number in 3..20 {
            member(&scratch, number, &[&format!("c{number}"), "all"]);
            let all = names.find(&config, "all").unwrap();
            assert_eq!(all.v4.len(), usize::from(number) - 1);
        }
        let first = names.find(&config, "all").unwrap();
        let differs = (0..50).any(|_| names.find(&config, "all").unwrap() != first);
        assert!(differs, "the order never changes");
        std::fs::remove_file(scratch.0.join("n1").join(format!("{:064}", 2))).unwrap();
        assert_eq!(names.find(&config, "web"), None);
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(names.reverse(&config, address).as_deref(), Some("c3.Front"));
    }
}

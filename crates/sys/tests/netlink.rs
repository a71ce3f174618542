//! Links, addresses and routes on the real kernel, inside namespaces of the test's own. Needs root.

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::time::Instant;

    use sys::netlink::{
        Prefix, VethSpec, addresses, attach_container, bridge_create, default_route, in_namespace,
        link_delete, link_exists, link_info, links, loopback_up, new_namespace, routes,
    };

    fn spec(number: u8) -> VethSpec {
        VethSpec {
            bridge: "br0".to_owned(),
            host_name: format!("ov{number}"),
            peer_name: "eth0".to_owned(),
            mac: format!("02:42:ac:11:00:{number:02x}"),
            address: format!("172.17.0.{number}/16"),
            gateway: Some("172.17.0.1".to_owned()),
            address6: Some(format!("fd00:7::{number}/64")),
            gateway6: Some("fd00:7::1".to_owned()),
            mtu: 1400,
            isolated: false,
        }
    }

    fn bridge() {
        let prefixes: [Prefix; 2] = [
            "172.17.0.1/16".parse().unwrap(),
            "fd00:7::1/64".parse().unwrap(),
        ];
        bridge_create("br0", Some([2, 0x42, 1, 2, 3, 4]), 1400, &prefixes).unwrap();
    }

    #[test]
    fn two_containers_reach_each_other_and_leave_nothing() {
        let host = new_namespace().unwrap();
        in_namespace(host.as_fd(), || {
            bridge();
            let taken = bridge_create("br0", None, 1500, &[]).unwrap_err();
            assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists, "{taken}");

            let containers: Vec<_> = (2..4).map(|_| new_namespace().unwrap()).collect();
            for (number, container) in (2..).zip(&containers) {
                loopback_up(container.as_fd()).unwrap();
                let start = Instant::now();
                attach_container(&spec(number), container.as_fd()).unwrap();
                println!("attach: {:?}", start.elapsed());
            }
            let port = link_info("ov2").unwrap().unwrap();
            let br0 = link_info("br0").unwrap().unwrap();
            assert_eq!(
                (port.kind.as_str(), port.master, port.up),
                ("veth", Some(br0.index), true)
            );
            assert_eq!((br0.kind.as_str(), br0.mtu), ("bridge", 1400));
            assert_eq!(br0.mac, [2, 0x42, 1, 2, 3, 4]);

            in_namespace(containers[0].as_fd(), || {
                let eth0 = link_info("eth0").unwrap().unwrap();
                assert_eq!(eth0.mac, [2, 0x42, 0xac, 0x11, 0, 2]);
                assert_eq!(eth0.mtu, 1400);
                let own: Vec<String> = addresses()
                    .unwrap()
                    .iter()
                    .filter(|address| address.index == eth0.index)
                    .map(|address| address.prefix.to_string())
                    .collect();
                assert!(own.contains(&"172.17.0.2/16".to_owned()), "{own:?}");
                assert!(own.contains(&"fd00:7::2/64".to_owned()), "{own:?}");
                for ipv6 in [false, true] {
                    let route = default_route(ipv6).unwrap().unwrap();
                    assert_eq!(route.device, Some(eth0.index));
                }
                assert!(
                    routes()
                        .unwrap()
                        .iter()
                        .any(|route| route.destination.to_string() == "172.17.0.0/16")
                );
            })
            .unwrap();
            for address in ["172.17.0.3:99", "[fd00:7::3]:99"] {
                let listener =
                    in_namespace(containers[1].as_fd(), || TcpListener::bind(address)).unwrap();
                let start = Instant::now();
                in_namespace(containers[0].as_fd(), || TcpStream::connect(address))
                    .unwrap()
                    .unwrap();
                println!("first connection to {address}: {:?}", start.elapsed());
                drop(listener);
            }

            drop(containers);
            for name in ["ov2", "ov3", "br0"] {
                link_delete(name).unwrap();
                assert!(!link_exists(name).unwrap(), "{name}");
            }
            assert!(!link_delete("br0").unwrap());
            assert_eq!(links().unwrap().len(), 1, "{:?}", links().unwrap());
        })
        .unwrap();
    }

    #[test]
    fn a_leftover_of_the_same_name_is_replaced() {
        let host = new_namespace().unwrap();
        in_namespace(host.as_fd(), || {
            bridge();
            let first = new_namespace().unwrap();
            attach_container(&spec(2), first.as_fd()).unwrap();
            let before = link_info("ov2").unwrap().unwrap();
            let second = new_namespace().unwrap();
            attach_container(&spec(2), second.as_fd()).unwrap();
            assert_ne!(link_info("ov2").unwrap().unwrap().index, before.index);
            assert!(in_namespace(second.as_fd(), || link_exists("eth0").unwrap()).unwrap());
            assert!(!in_namespace(first.as_fd(), || link_exists("eth0").unwrap()).unwrap());
        })
        .unwrap();
    }

    #[test]
    fn failures_leave_no_device_and_say_the_step() {
        let host = new_namespace().unwrap();
        in_namespace(host.as_fd(), || {
            let container = new_namespace().unwrap();
            let missing = attach_container(&spec(2), container.as_fd()).unwrap_err();
            assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
            bridge();
            let table = [
                (
                    VethSpec {
                        gateway: Some("10.9.9.9".to_owned()),
                        ..spec(2)
                    },
                    "add default route by 10.9.9.9 to eth0",
                ),
                (
                    VethSpec {
                        peer_name: "lo".to_owned(),
                        ..spec(2)
                    },
                    "create veth ov2",
                ),
                (
                    VethSpec {
                        mac: "02:42".to_owned(),
                        ..spec(2)
                    },
                    "invalid hardware address `02:42`",
                ),
            ];
            for (spec, text) in table {
                let error = attach_container(&spec, container.as_fd()).unwrap_err();
                assert!(error.to_string().starts_with(text), "{error}");
                println!("{error}");
                assert!(!link_exists("ov2").unwrap());
            }
        })
        .unwrap();
    }

    #[test]
    fn without_an_ipv6_address_there_is_no_link_local_one() {
        let host = new_namespace().unwrap();
        in_namespace(host.as_fd(), || {
            bridge();
            let container = new_namespace().unwrap();
            let spec = VethSpec {
                address6: None,
                gateway6: None,
                ..spec(2)
            };
            attach_container(&spec, container.as_fd()).unwrap();
            in_namespace(container.as_fd(), || {
                let all = addresses().unwrap();
                assert!(
                    all.iter().all(|found| found.prefix.address.is_ipv4()),
                    "{all:?}"
                );
            })
            .unwrap();
        })
        .unwrap();
    }

    #[test]
    fn attaching_is_fast() {
        let host = new_namespace().unwrap();
        in_namespace(host.as_fd(), || {
            bridge();
            let mut kept = Vec::new();
            let mut times: Vec<_> = (2..42)
                .map(|number| {
                    let container = new_namespace().unwrap();
                    let start = Instant::now();
                    attach_container(&spec(number), container.as_fd()).unwrap();
                    let taken = start.elapsed();
                    kept.push(container);
                    taken
                })
                .collect();
            times.sort();
            println!("attach median {:?}, worst {:?}", times[20], times[39]);
        })
        .unwrap();
    }
}

//! The default bridge on the real kernel: a namespace of the test's own plays the host, others play containers. Needs
//! root, and `nft` and `iptables` to look at the result.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files and look with other programs"
)]

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use engine::network::{
        Connected, Held, Network, NetworkConfig, NetworkError, PortRequest, Wish, predefined_id,
    };
    use shim_protocol::spec::Interface;
    use sys::netlink::{
        VethSpec, attach_container, in_namespace, link_delete, link_exists, links, loopback_up,
        loopback_up_here, new_namespace, write_setting,
    };

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A host of its own, with `eth0` at 192.0.2.2 whose other end, 192.0.2.1, is a neighbour outside.
    struct Host {
        namespace: OwnedFd,
        outside: OwnedFd,
        state_file: PathBuf,
    }

    impl Host {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let directory =
                std::env::temp_dir().join(format!("orlop-network-{}-{number}", std::process::id()));
            std::fs::create_dir(&directory).unwrap();
            let host = Self {
                namespace: new_namespace().unwrap(),
                outside: new_namespace().unwrap(),
                state_file: directory.join("network.json"),
            };
            host.run(|| {
                loopback_up_here().unwrap();
                run(
                    "ip link add eth0 type veth peer name eth0 netns /proc/self/fd/9",
                    Some(&host.outside),
                );
                run("ip address add 192.0.2.2/24 dev eth0", None);
                run("ip link set eth0 up", None);
                run("ip route add default via 192.0.2.1", None);
            });
            in_namespace(host.outside.as_fd(), || {
                loopback_up_here().unwrap();
                run("ip address add 192.0.2.1/24 dev eth0", None);
                run("ip link set eth0 up", None);
            })
            .unwrap();
            host
        }

        fn run<T>(&self, work: impl FnOnce() -> T) -> T {
            in_namespace(self.namespace.as_fd(), work).unwrap()
        }

        fn config(&self) -> NetworkConfig {
            NetworkConfig {
                tag: "abcdef012345".to_owned(),
                default_root: true,
                state_file: self.state_file.clone(),
                subnet: None,
                mtu: None,
                pools: Vec::new(),
            }
        }

        fn network(&self) -> Network {
            Network::open(self.config()).unwrap()
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            std::fs::remove_dir_all(self.state_file.parent().unwrap()).unwrap();
        }
    }

    /// Runs a command; `fd` becomes its descriptor 9.
    fn run(line: &str, fd: Option<&OwnedFd>) -> String {
        let mut command = Command::new("sh");
        let opened = fd.map(|fd| {
            format!(
                "/proc/{}/fd/{}",
                std::process::id(),
                std::os::fd::AsRawFd::as_raw_fd(fd)
            )
        });
        match opened {
            Some(path) => command.arg("-c").arg(format!("exec 9<{path}; exec {line}")),
            None => command.arg("-c").arg(line),
        };
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn id(number: u32) -> String {
        format!("{number:08x}{}", "0".repeat(56))
    }

    fn port(host_ip: Option<&str>, host: u16, container: u16) -> PortRequest {
        PortRequest {
            host_ip: host_ip.map(str::to_owned),
            host_ports: Some((host, host)),
            protocol: "tcp".to_owned(),
            container_port: container,
        }
    }

    /// On the default bridge, with these ports.
    fn wish(ports: &[PortRequest]) -> Wish {
        Wish {
            ports: ports.to_vec(),
            ..Wish::default()
        }
    }

    fn veth(interface: &Interface) -> VethSpec {
        VethSpec {
            bridge: interface.bridge.clone(),
            host_name: interface.host_name.clone(),
            peer_name: interface.name.clone(),
            mac: interface.mac.clone(),
            address: interface.address.clone(),
            gateway: interface.gateway.clone(),
            address6: interface.address6.clone(),
            gateway6: interface.gateway6.clone(),
            mtu: interface.mtu,
            isolated: interface.isolated,
        }
    }

    struct Container {
        namespace: OwnedFd,
        connected: Connected,
    }

    fn start(network: &Network, number: u32, ports: &[PortRequest]) -> Container {
        let connected = network.connect(&id(number), &wish(ports)).unwrap();
        let namespace = new_namespace().unwrap();
        loopback_up(namespace.as_fd()).unwrap();
        attach_container(&veth(&connected.interface), namespace.as_fd()).unwrap();
        Container {
            namespace,
            connected,
        }
    }

    impl Container {
        fn run<T>(&self, work: impl FnOnce() -> T) -> T {
            in_namespace(self.namespace.as_fd(), work).unwrap()
        }

        /// Serves `port`: tells each client the address it is seen with. Ends with the process.
        fn serve(&self, port: u16) {
            let listener = self.run(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let peer = stream.peer_addr().unwrap().ip().to_string();
                    // The client may be gone already.
                    drop(stream.write_all(peer.as_bytes()));
                    drop(stream.shutdown(Shutdown::Write));
                }
            });
        }
    }

    /// What the server at `address` says the caller's address is.
    fn call(address: &str) -> std::io::Result<String> {
        let address: SocketAddr = address.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(700))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "{what}");
            thread::yield_now();
        }
    }

    /// Nothing of ours is left in the current namespace.
    fn assert_clean() {
        let names: Vec<String> = links().unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let rules = run("nft list ruleset", None);
        assert!(!rules.contains("orlop"), "{rules}");
    }

    #[test]
    fn containers_reach_each_other_the_world_and_published_ports() {
        let host = Host::new();
        let network = host.run(|| host.network());
        let (web, client) = host.run(|| {
            (
                start(
                    &network,
                    1,
                    &[port(None, 8080, 80), port(Some("127.0.0.1"), 8081, 80)],
                ),
                start(&network, 2, &[]),
            )
        });
        assert_eq!(web.connected.ip, "172.17.0.2");
        assert_eq!(web.connected.gateway, "172.17.0.1");
        assert_eq!(client.connected.ip, "172.17.0.3");
        println!("{}", host.run(|| run("nft list ruleset", None)));
        web.serve(80);

        // Between containers, with their own addresses.
        assert_eq!(client.run(|| call("172.17.0.2:80")).unwrap(), "172.17.0.3");
        client.run(|| run("busybox ping -c 1 -W 2 172.17.0.2", None));
        client.run(|| run("busybox ping -c 1 -W 2 192.0.2.1", None));
        // From the host: by the container's address, by loopback, by the host's own address.
        host.run(|| {
            assert_eq!(call("172.17.0.2:80").unwrap(), "172.17.0.1");
            assert_eq!(call("127.0.0.1:8080").unwrap(), "172.17.0.1");
            assert_eq!(call("192.0.2.2:8080").unwrap(), "192.0.2.2");
            assert_eq!(call("127.0.0.1:8081").unwrap(), "172.17.0.1");
        });
        // From a neighbour and from the container itself, by the host's address and by the bridge's.
        for caller in [&client, &web] {
            for address in ["192.0.2.2:8080", "172.17.0.1:8080"] {
                assert_eq!(caller.run(|| call(address)).unwrap(), "172.17.0.1");
            }
        }
        // From outside, with the caller's address; and only what is published, there.
        in_namespace(host.outside.as_fd(), || {
            assert_eq!(call("192.0.2.2:8080").unwrap(), "192.0.2.1");
            assert!(call("192.0.2.2:8081").is_err());
            run("ip route add 172.17.0.0/16 via 192.0.2.2", None);
            assert!(call("172.17.0.2:80").is_err(), "unpublished port by route");
            // By force to a port that is published on the host's loopback.
            run("ip address del 127.0.0.1/8 dev lo", None);
            run(
                "ip route add 127.0.0.1/32 via 192.0.2.2 dev eth0 src 192.0.2.1",
                None,
            );
            write_setting("net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            assert!(call("127.0.0.1:8081").is_err());
        })
        .unwrap();
        // The shim's sockets answer where the map does not reach; here nobody accepts, but they are there.
        assert_eq!(web.connected.sockets.len(), web.connected.published.len());
        // A container cannot use the bridge's route to the host's loopback.
        let private = host.run(|| TcpListener::bind("127.0.0.1:9000").unwrap());
        client.run(|| {
            run("ip address del 127.0.0.1/8 dev lo", None);
            run(
                "ip route add 127.0.0.1/32 via 172.17.0.1 dev eth0 src 172.17.0.3",
                None,
            );
            assert!(call("127.0.0.1:9000").is_err());
        });
        drop(private);

        drop((web, client));
        host.run(|| {
            network.disconnect_all(&id(1)).unwrap();
            network.disconnect_all(&id(2)).unwrap();
            network.shutdown().unwrap();
            assert_clean();
            network.shutdown().unwrap();
        });
    }

    #[test]
    fn port_conflicts_are_found_and_undone() {
        let host = Host::new();
        host.run(|| {
            let network = host.network();
            let web = start(&network, 1, &[port(None, 8080, 80)]);
            let error = network
                .connect(&id(2), &wish(&[port(None, 8080, 80)]))
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "Bind for 0.0.0.0:8080 failed: port is already allocated"
            );
            let foreign = TcpListener::bind("0.0.0.0:8082").unwrap();
            let wanted = [port(None, 8083, 80), port(None, 8082, 80)];
            let error = network.connect(&id(2), &wish(&wanted)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "failed to bind host port for 0.0.0.0:8082: address already in use"
            );
            drop(foreign);
            let second = start(&network, 2, &wanted);
            second.serve(80);
            assert!(call("127.0.0.1:8083").is_ok());
            assert_eq!(network.info().unwrap().containers.len(), 2);
            drop((web, second));
        });
    }

    #[test]
    fn the_same_port_leads_to_the_next_container() {
        let host = Host::new();
        host.run(|| {
            let network = host.network();
            let mut times: Vec<Duration> = (1..30)
                .map(|number| {
                    let web = start(&network, number, &[port(None, 8080, 80)]);
                    web.serve(80);
                    let begin = Instant::now();
                    call("127.0.0.1:8080").unwrap();
                    let taken = begin.elapsed();
                    network.disconnect_all(&id(number)).unwrap();
                    taken
                })
                .collect();
            times.sort();
            println!("first call: median {:?}, worst {:?}", times[14], times[28]);
        });
    }

    #[test]
    fn udp_flows_follow_the_port() {
        let host = Host::new();
        host.run(|| {
            let network = host.network();
            let wanted = [PortRequest {
                protocol: "udp".to_owned(),
                ..port(None, 5300, 53)
            }];
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect("127.0.0.1:5300").unwrap();
            for number in 1..4_u32 {
                let container = start(&network, number, &wanted);
                let server = container.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
                server.set_read_timeout(Some(PATIENCE)).unwrap();
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                client.send(&number.to_ne_bytes()).unwrap();
                let mut buffer = [0; 4];
                let (_, from) = server.recv_from(&mut buffer).unwrap();
                assert_eq!(buffer, number.to_ne_bytes());
                server.send_to(b"back", from).unwrap();
                assert_eq!(client.recv(&mut buffer).unwrap(), 4);
                network.disconnect_all(&id(number)).unwrap();
            }
        });
    }

    #[test]
    fn a_host_that_drops_forwarded_packets_is_told_to_accept_ours() {
        for user_chain in [false, true] {
            let host = Host::new();
            host.run(|| {
            run("iptables-nft -P FORWARD DROP", None);
            if user_chain {
                run("iptables-nft -N DOCKER-USER", None);
                run("iptables-nft -A FORWARD -j DOCKER-USER", None);
            }
            let network = host.network();
            let web = start(&network, 1, &[port(None, 8080, 80)]);
            let client = start(&network, 2, &[]);
            web.serve(80);
            let target = if user_chain { "DOCKER-USER" } else { "FORWARD" };
            let listed = run("iptables-nft -S", None);
            for side in ["-i", "-o"] {
                let rule = format!(
                    "-A {target} {side} orlop0 -m comment --comment \"orlop-abcdef012345 orlop0\" -j ACCEPT"
                );
                assert_eq!(listed.matches(&rule).count(), 1, "{listed}");
            }
            client.run(|| run("busybox ping -c 1 -W 2 192.0.2.1", None));
            assert!(client.run(|| call("192.0.2.2:8080")).is_ok());
            let seen = in_namespace(host.outside.as_fd(), || call("192.0.2.2:8080"));
            seen.unwrap().unwrap();
            drop((web, client));
            network.disconnect_all(&id(1)).unwrap();
            network.disconnect_all(&id(2)).unwrap();
            network.shutdown().unwrap();
            assert_clean();
        });
        }
    }

    #[test]
    fn old_iptables_are_changed_by_their_program() {
        let host = Host::new();
        host.run(|| {
            if !Command::new("iptables-legacy")
                .args(["-P", "FORWARD", "DROP"])
                .output()
                .is_ok_and(|output| output.status.success())
            {
                println!("skipped: no old iptables in this kernel");
                return;
            }
            let network = host.network();
            let container = start(&network, 1, &[]);
            container.run(|| run("busybox ping -c 1 -W 2 192.0.2.1", None));
            let second = start(&network, 2, &[]);
            let listed = run("iptables-legacy -S FORWARD", None);
            assert_eq!(listed.matches("orlop-abcdef012345").count(), 2, "{listed}");
            drop((container, second));
            network.disconnect_all(&id(1)).unwrap();
            network.disconnect_all(&id(2)).unwrap();
            network.shutdown().unwrap();
            assert!(!run("iptables-legacy -S FORWARD", None).contains("orlop"));
            assert_clean();
        });
    }

    #[test]
    fn a_killed_engine_is_recovered() {
        let host = Host::new();
        host.run(|| {
            let first = host.network();
            let kept = start(&first, 1, &[port(None, 8080, 80)]);
            let lost = start(
                &first,
                2,
                &[port(None, 8081, 80), port(Some("127.0.0.1"), 8082, 80)],
            );
            kept.serve(80);
            drop(first);
            // Meanwhile somebody removes a rule of ours, and an element.
            let tables = run("nft -a list table ip orlop-abcdef012345", None);
            assert!(tables.contains("8080"), "{tables}");
            run("nft flush map ip orlop-abcdef012345 ports", None);

            let second = host.network();
            second
                .restore(Held {
                    container: &id(1),
                    name: "kept",
                    network: &predefined_id("bridge"),
                    endpoint: &kept.connected.endpoint,
                    interface: &kept.connected.interface,
                    published: &kept.connected.published,
                })
                .unwrap();
            let repaired = second.reconcile(&[id(1)]).unwrap();
            println!("{repaired:#?}");
            assert_eq!(repaired.len(), 3, "{repaired:?}");
            assert!(!link_exists(&lost.connected.interface.host_name).unwrap());
            assert!(link_exists(&kept.connected.interface.host_name).unwrap());
            assert!(second.reconcile(&[id(1)]).unwrap().is_empty());
            assert!(call("127.0.0.1:8080").is_ok());
            let rules = run("nft list ruleset", None);
            assert!(
                !rules.contains("8081") && !rules.contains("8082"),
                "{rules}"
            );
            // The address and the port of the one that lives are not given away.
            let taken = second
                .connect(&id(3), &wish(&[port(None, 8080, 80)]))
                .unwrap_err();
            assert!(matches!(taken, NetworkError::PortAllocated { .. }));
            let other = second.connect(&id(3), &wish(&[])).unwrap();
            assert_ne!(other.ip, kept.connected.ip);

            // The tables vanish: the next start brings them back, with all ports.
            run("nft flush ruleset", None);
            second.connect(&id(4), &wish(&[])).unwrap();
            assert!(call("127.0.0.1:8080").is_ok());

            drop(second);
            let third = host.network();
            let repaired = third.reconcile(&[]).unwrap();
            println!("{repaired:#?}");
            // The device, the bridge, the rules.
            assert_eq!(repaired.len(), 3, "{repaired:?}");
            assert_clean();
            assert!(third.reconcile(&[]).unwrap().is_empty());
        });
    }

    #[test]
    fn the_subnet_is_free_and_remembered() {
        let host = Host::new();
        host.run(|| {
            run("ip route add 172.17.0.0/17 via 192.0.2.1", None);
            run("ip link add taken type bridge", None);
            run("ip address add 172.18.9.9/24 dev taken", None);
            let network = host.network();
            let planned = network.info().unwrap();
            assert_eq!(
                (planned.subnet.as_str(), planned.gateway.as_str()),
                ("172.19.0.0/16", "172.19.0.1")
            );
            assert_eq!(
                network.connect(&id(1), &wish(&[])).unwrap().ip,
                "172.19.0.2"
            );
            network.disconnect_all(&id(1)).unwrap();
            network.shutdown().unwrap();
            link_delete("taken").unwrap();
            let again = host.network();
            assert_eq!(again.connect(&id(1), &wish(&[])).unwrap().ip, "172.19.0.2");
            again.disconnect_all(&id(1)).unwrap();
            again.shutdown().unwrap();
            // What was remembered is given up when somebody else has it now.
            run("ip route add 172.19.1.0/24 via 192.0.2.1", None);
            let moved = host.network();
            assert_eq!(moved.connect(&id(1), &wish(&[])).unwrap().ip, "172.18.0.2");
        });
    }

    #[test]
    fn two_roots_do_not_meet() {
        let host = Host::new();
        let other = Host::new();
        host.run(|| {
            let first = host.network();
            let second = Network::open(NetworkConfig {
                tag: "fedcba987654".to_owned(),
                default_root: false,
                mtu: Some(1400),
                ..other.config()
            })
            .unwrap();
            let one = start(&first, 1, &[port(None, 8080, 80)]);
            let two = start(&second, 1, &[port(None, 8081, 80)]);
            assert_eq!(two.connected.interface.bridge, "orl-fedcba98");
            assert_eq!(two.connected.ip, "172.18.0.2");
            assert_eq!(two.connected.interface.mtu, 1400);
            two.serve(80);
            assert!(one.run(|| call("172.18.0.2:80")).is_err(), "isolated");
            assert!(one.run(|| call("192.0.2.2:8081")).is_ok(), "published");
            assert!(second.reconcile(&[id(1)]).unwrap().is_empty());
            first.disconnect_all(&id(1)).unwrap();
            first.shutdown().unwrap();
            assert!(call("127.0.0.1:8081").is_ok());
            drop((one, two));
            second.disconnect_all(&id(1)).unwrap();
            second.shutdown().unwrap();
            assert_clean();
        });
    }

    #[test]
    fn ipv6_where_the_host_has_a_way_out() {
        let host = Host::new();
        in_namespace(host.outside.as_fd(), || {
            run("ip address add 2001:db8::1/64 dev eth0 nodad", None);
        })
        .unwrap();
        host.run(|| {
            run("ip address add 2001:db8::2/64 dev eth0 nodad", None);
            run("ip route add default via 2001:db8::1", None);
            let network = host.network();
            let one = start(&network, 1, &[]);
            let two = start(&network, 2, &[]);
            let address = one.connected.ip6.clone().unwrap();
            assert!(
                address.starts_with("fd") && address.ends_with("::2"),
                "{address}"
            );
            two.run(|| {
                run(&format!("busybox ping6 -c 1 -W 2 {address}"), None);
                run("busybox ping6 -c 1 -W 2 2001:db8::1", None);
            });
            assert_eq!(
                sys::netlink::read_setting("net/ipv6/conf/eth0/accept_ra")
                    .unwrap()
                    .as_deref(),
                Some("2")
            );
            in_namespace(host.outside.as_fd(), || {
                run("ip route add fd00::/8 via 2001:db8::2", None);
                let ping = Command::new("busybox")
                    .args(["ping6", "-c", "1", "-W", "1", &address])
                    .output()
                    .unwrap();
                assert!(!ping.status.success(), "reached from outside");
            })
            .unwrap();
            drop((one, two));
            network.disconnect_all(&id(1)).unwrap();
            network.disconnect_all(&id(2)).unwrap();
            network.shutdown().unwrap();
            assert_clean();
            write_setting("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
            let none = host.network().connect(&id(3), &wish(&[])).unwrap();
            assert_eq!(none.ip6, None);
        });
    }

    #[test]
    fn two_hundred_containers_come_and_go() {
        let host = Host::new();
        host.run(|| {
            let network = host.network();
            let mut connects = Vec::new();
            let mut attaches = Vec::new();
            let mut running = Vec::new();
            for number in 0..200 {
                let start = Instant::now();
                let connected = network
                    .connect(
                        &id(number),
                        &wish(&[PortRequest {
                            host_ports: None,
                            ..port(None, 1, 80)
                        }]),
                    )
                    .unwrap();
                connects.push(start.elapsed());
                let namespace = new_namespace().unwrap();
                let start = Instant::now();
                attach_container(&veth(&connected.interface), namespace.as_fd()).unwrap();
                attaches.push(start.elapsed());
                running.push((namespace, connected));
            }
            let mut disconnects = Vec::new();
            drop(running);
            for number in 0..200 {
                let start = Instant::now();
                network.disconnect_all(&id(number)).unwrap();
                disconnects.push(start.elapsed());
            }
            for (what, times) in [
                ("connect", &mut connects),
                ("attach", &mut attaches),
                ("disconnect", &mut disconnects),
            ] {
                times.sort();
                println!("{what}: median {:?}, worst {:?}", times[100], times[199]);
            }
            wait_for("devices of ended containers are left", || {
                !links()
                    .unwrap()
                    .iter()
                    .any(|link| link.name.starts_with("ovabcd"))
            });
            let start = Instant::now();
            network.shutdown().unwrap();
            println!("shutdown: {:?}", start.elapsed());
            assert_clean();
        });
    }
}

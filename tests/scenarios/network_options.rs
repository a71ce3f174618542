//! Networks with IPv6, and options of bridges: what containers see of them, and what the world outside sees of containers.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::until;

use super::{Scenario, Scene, host, http};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("n20_ipv6", n20),
    ("n21_ipv6_that_leads_nowhere", n21),
    ("n22_where_ports_are_published", n22),
    ("n23_whose_address_is_seen_outside", n23),
    ("n24_disconnect_of_what_has_gone", n24),
];

const WEB: &str = "mkdir /www; hostname > /www/name; exec httpd -f -p [::]:80 -h /www";

/// 0 or 1: no subnet of one client is the other's.
fn side(scene: &Scene) -> u16 {
    u16::from(scene.port(0) != 18_000)
}

/// A /64 that no other scenario has.
fn prefix(scene: &Scene, number: u16) -> String {
    format!("fd00:77:{}:{number}", side(scene))
}

fn endpoint(scene: &Scene, container: &str, network: &str, field: &str) -> String {
    let network = scene.name(network);
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").{field}}}}}");
    scene.inspect(container, &format)
}

fn n20(scene: &Scene) {
    let net = prefix(scene, 20);
    scene
        .run(&format!(
            "network create --ipv6 --subnet {net}::/64 --gateway {net}::1 %net"
        ))
        .ok();
    scene
        .run_and(
            "run -d --name %web -h webhost --network %net busybox sh -c",
            &[WEB],
        )
        .ok();
    let address = endpoint(scene, "web", "net", "GlobalIPv6Address");
    assert!(address.starts_with(&net), "{address}");
    assert_eq!(endpoint(scene, "web", "net", "GlobalIPv6PrefixLen"), "64");
    assert_eq!(
        endpoint(scene, "web", "net", "IPv6Gateway"),
        format!("{net}::1")
    );
    scene
        .run(&format!(
            "run -d --name %it --network %net --ip6 {net}::abcd busybox sleep 1000"
        ))
        .ok();
    assert_eq!(
        endpoint(scene, "it", "net", "GlobalIPv6Address"),
        format!("{net}::abcd")
    );
    let seen = scene.sh("it", "ip -6 addr show eth0; ip -6 route").ok();
    for part in [
        format!("inet6 {net}::abcd/64"),
        format!("default via {net}::1"),
    ] {
        assert!(seen.contains(&part), "{part} in\n{seen}");
    }
    // By address and by name, over IPv6.
    let fetched = until("it serves", || {
        let output = scene.sh(
            "it",
            &format!("timeout 2 wget -qO- http://[{address}]/name"),
        );
        (output.code == 0).then_some(output.stdout)
    });
    assert_eq!(fetched, "webhost\n");
    let name = scene.name("web");
    let resolved = scene.sh("it", &format!("nslookup -type=aaaa {name}")).ok();
    assert!(resolved.contains(&address), "{resolved}");
    scene.sh("it", &format!("ping6 -c 1 -W 5 {name}")).ok();
    scene.sh("it", &format!("ping6 -c 1 -W 5 {net}::1")).ok();
    // The host reaches it, too.
    assert_eq!(
        http(&format!("http://[{address}]/name")).unwrap(),
        "webhost\n"
    );
    let inspected = scene.run("network inspect %net").json();
    assert_eq!(inspected[0]["EnableIPv6"], true);
    let subnets = inspected[0]["IPAM"]["Config"].as_array().unwrap();
    assert!(
        subnets
            .iter()
            .any(|pool| pool["Subnet"] == format!("{net}::/64")),
        "{subnets:?}"
    );
    let on: Vec<_> = inspected[0]["Containers"]
        .as_object()
        .unwrap()
        .values()
        .map(|one| one["IPv6Address"].as_str().unwrap().to_owned())
        .collect();
    assert!(on.contains(&format!("{net}::abcd/64")), "{on:?}");
    // An address stays a container's while it has it, and is free again afterwards.
    let taken = format!("run --rm --network %net --ip6 {net}::abcd busybox true");
    scene.run(&taken).fails(125, "Address already in use");
    scene
        .run("run --rm --network %net --ip6 fd00:1234::1 busybox true")
        .fails(125, "ip-range contain the IP address fd00:1234::1");
    scene
        .run("run --rm --network %net --ip6 nonsense busybox true")
        .fails(125, "");
    scene.run("restart -t 0 %it").ok();
    assert_eq!(
        endpoint(scene, "it", "net", "GlobalIPv6Address"),
        format!("{net}::abcd")
    );
    scene.run("rm -f %it").ok();
    scene.run(&taken).ok();
    // Later, by connect.
    scene.run("run -d --name %late busybox sleep 1000").ok();
    scene
        .run(&format!("network connect --ip6 {net}::7 %net %late"))
        .ok();
    scene
        .sh("late", &format!("wget -qO- http://[{address}]/name"))
        .ok();
    let seen = scene.sh("late", "ip -6 addr show eth1").ok();
    assert!(seen.contains(&format!("inet6 {net}::7/64")), "{seen}");
    scene.run("rm -f %late %web").ok();
    scene.run("network rm %net").ok();
    // Without a subnet the network finds one.
    scene.run("network create --ipv6 %own").ok();
    let seen = scene
        .run("run --rm --network %own busybox ip -6 addr show eth0 scope global")
        .ok();
    assert!(seen.contains("inet6 fd"), "{seen}");
    scene.run("network rm %own").ok();
}

fn n21(scene: &Scene) {
    let net = prefix(scene, 21);
    scene
        .run(&format!(
            "network create --internal --ipv6 --subnet {net}::/64 %in"
        ))
        .ok();
    scene
        .run(&format!("network create --ipv6 --subnet {net}:1::/80 %out"))
        .fails(1, "");
    let outside = prefix(scene, 22);
    scene
        .run(&format!(
            "network create --ipv6 --subnet {outside}::/64 %out"
        ))
        .ok();
    scene
        .run_and("run -d --name %web --network %in busybox sh -c", &[WEB])
        .ok();
    let address = endpoint(scene, "web", "in", "GlobalIPv6Address");
    assert_eq!(endpoint(scene, "web", "in", "IPv6Gateway"), "");
    let routes = scene.sh("web", "ip -6 route; ip route").ok();
    assert!(!routes.contains("default"), "{routes}");
    // With an init, or `timeout` cannot end what is the first process.
    let reach = |network: &str| {
        let line = format!(
            "run --rm --init --network %{network} busybox timeout 2 wget -qO- http://[{address}]/name"
        );
        scene.run(&line).code == 0
    };
    until("it serves", || reach("in").then_some(()));
    assert!(!reach("out"), "an internal network is reached from another");
    scene.run("rm -f %web").ok();
    scene.run("network rm %in %out").ok();
}

fn n22(scene: &Scene) {
    let port = scene.port(22);
    scene
        .run("network create -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 %net")
        .ok();
    scene
        .run_and(
            &format!(
                "run -d --name %web -h webhost --network %net -p {port}:80 -p 192.0.2.1:{}:80 busybox sh -c",
                port + 1
            ),
            &[WEB],
        )
        .ok();
    let url = |host: &str, port: u16| format!("http://{host}:{port}/name");
    until("it answers", || http(&url("127.0.0.1", port)));
    assert!(http(&url("192.0.2.1", port)).is_none());
    // What names an address has it.
    assert_eq!(http(&url("192.0.2.1", port + 1)).unwrap(), "webhost\n");
    let ports = scene.run("port %web 80").ok();
    assert!(
        ports.contains(&format!("127.0.0.1:{port}")) && !ports.contains("0.0.0.0"),
        "{ports}"
    );
    scene.run("rm -f %web").ok();
    scene.run("network rm %net").ok();
    scene
        .run("network create -o com.docker.network.bridge.host_binding_ipv4=nonsense %net")
        .fails(1, "");
}

/// Another machine, behind the host: a network namespace with a cable to it.
struct Outside {
    holder: Child,
    cable: String,
}

impl Outside {
    fn new(scene: &Scene, addresses: &[(&str, &str)]) -> Self {
        // It lives until its input ends.
        let holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo in; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let cable = format!("cable{}", side(scene));
        let mut outside = Self { holder, cable };
        let mut said = [0; 3];
        let stdout = outside.holder.stdout.as_mut().unwrap();
        stdout.read_exact(&mut said).unwrap();
        let pid = outside.holder.id().to_string();
        let far = format!("{}b", outside.cable);
        let cable = outside.cable.as_str();
        let add = ["link", "add", cable, "type", "veth", "peer", "name", &far];
        host("ip", &add);
        host("ip", &["link", "set", &far, "netns", &pid]);
        let inside = |arguments: &[&str]| {
            let enter = ["-t", &pid, "-n", "ip"];
            host("nsenter", &[&enter[..], arguments].concat());
        };
        for (near, distant) in addresses {
            // No waiting for duplicates of IPv6 addresses.
            let tail: &[&str] = if near.contains(':') { &["nodad"] } else { &[] };
            host("ip", &[&["addr", "add", near, "dev", cable], tail].concat());
            inside(&[&["addr", "add", distant, "dev", &far], tail].concat());
        }
        host("ip", &["link", "set", cable, "up"]);
        inside(&["link", "set", &far, "up"]);
        for (near, _) in addresses {
            let near = near.split('/').next().unwrap();
            let family = if near.contains(':') { "-6" } else { "-4" };
            inside(&[family, "route", "add", "default", "via", near]);
        }
        outside
    }

    /// Listens out there; who connects, one after the other.
    fn callers(&self, address: &str) -> mpsc::Receiver<IpAddr> {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let (ready, is_ready) = mpsc::channel();
        let (sender, callers) = mpsc::channel();
        std::thread::spawn(move || {
            // Of this thread alone.
            use std::os::fd::AsFd as _;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let listener = TcpListener::bind(address).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let caller = stream.peer_addr().unwrap().ip();
                // The caller may have gone.
                drop(stream.write_all(b"hello\n"));
                if sender.send(caller).is_err() {
                    return;
                }
            }
        });
        is_ready.recv().unwrap();
        callers
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may have ended with the test.
        drop(self.holder.kill());
        drop(self.holder.wait());
        drop(
            Command::new("ip")
                .args(["link", "delete", &self.cable])
                .stderr(Stdio::null())
                .status(),
        );
    }
}

fn n23(scene: &Scene) {
    let (near, far) = if side(scene) == 0 {
        ("198.51.100.1", "198.51.100.2")
    } else {
        ("203.0.113.1", "203.0.113.2")
    };
    let (near6, far6) = (
        format!("fd00:99:{}::1", side(scene)),
        format!("fd00:99:{}::2", side(scene)),
    );
    let outside = Outside::new(
        scene,
        &[
            (&format!("{near}/24"), &format!("{far}/24")),
            (&format!("{near6}/64"), &format!("{far6}/64")),
        ],
    );
    let callers = outside.callers(&format!("{far}:8000"));
    let callers6 = outside.callers(&format!("[{far6}]:8000"));
    let (net, bare) = (prefix(scene, 23), prefix(scene, 24));
    scene
        .run(&format!("network create --ipv6 --subnet {net}::/64 %net"))
        .ok();
    scene
        .run(&format!(
            "network create --ipv6 --subnet {bare}::/64 -o com.docker.network.bridge.enable_ip_masquerade=false %bare"
        ))
        .ok();
    for (network, hidden) in [("net", true), ("bare", false)] {
        scene
            .run(&format!(
                "run -d --name %{network} --network %{network} busybox sleep 1000"
            ))
            .ok();
        for (server, callers, own, of_host) in [
            (far, &callers, "IPAddress", near),
            (&far6, &callers6, "GlobalIPv6Address", &near6),
        ] {
            let said = scene
                .sh(network, &format!("timeout 5 nc {server} 8000 < /dev/null"))
                .ok();
            assert_eq!(said, "hello", "{network} {server}");
            let caller = callers.recv_timeout(Duration::from_secs(30)).unwrap();
            let own = endpoint(scene, network, network, own);
            let seen = if hidden { of_host } else { &own };
            let seen: IpAddr = seen.parse().unwrap();
            assert_eq!(caller, seen, "{network} {server}");
        }
    }
    scene.run("rm -f %net %bare").ok();
    scene.run("network rm %net %bare").ok();
}

fn n24(scene: &Scene) {
    scene.run("network create %net").ok();
    scene
        .run("network disconnect %net %nobody")
        .fails(1, "o such container");
    // By force as well: there is no endpoint of such a container on the network.
    let forced = scene.run("network disconnect -f %net %nobody");
    forced.fails(1, "");
    scene
        .run("network disconnect -f %nonet %nobody")
        .fails(1, "network");
    scene
        .run("run -d --name %it --network %net busybox sleep 1000")
        .ok();
    scene.run("network disconnect -f %net %it").ok();
    assert_eq!(scene.sh("it", "ls /sys/class/net").ok(), "lo");
    scene.run("rm -f %it").ok();
    scene.run("network rm %net").ok();
}

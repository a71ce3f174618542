//! Networks: published ports, names, links, modes; networks that users make.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use testkit::until;

use super::{Scenario, Scene, http, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("n01_published_ports", n01),
    ("n02_a_port_that_is_taken", n02),
    ("n03_names_and_links", n03),
    ("n04_modes", n04),
    ("n05_dns_and_hosts", n05),
    ("n06_udp", n06),
    ("n07_containers_reach_each_other_and_the_host", n07),
    ("n08_publish_all", n08),
    ("n09_inspect_and_ls", n09),
    ("n10_addresses_are_given_back", n10),
    ("n11_names_on_a_network", n11),
    ("n12_several_networks", n12),
    ("n13_static_addresses", n13),
    ("n14_internal_and_apart", n14),
    ("n15_refusals", n15),
    ("n16_ls_prune_events", n16),
    ("n17_ports_move", n17),
    ("n18_removed_meanwhile", n18),
    ("n19_name_servers_elsewhere", n19),
];

/// A web server of busybox that serves its own name.
const WEB: &str = "mkdir /www; hostname > /www/name; exec httpd -f -p 80 -h /www";

fn n01(scene: &Scene) {
    let port = scene.port(1);
    scene
        .run_and(
            &format!(
                "run -d --name %web -h webhost -p {port}:80 -p 127.0.0.1:{}:80 -p 80 busybox sh -c",
                port + 1
            ),
            &[WEB],
        )
        .ok();
    for url in [
        format!("http://127.0.0.1:{port}/name"),
        format!("http://192.0.2.1:{port}/name"),
        format!("http://[::1]:{port}/name"),
        format!("http://localhost:{port}/name"),
        format!("http://127.0.0.1:{}/name", port + 1),
    ] {
        assert_eq!(until(&format!("{url} answers"), || http(&url)), "webhost\n");
    }
    assert!(http(&format!("http://192.0.2.1:{}/name", port + 1)).is_none());
    let ports = scene.run("port %web").ok();
    assert!(
        ports.contains(&format!("80/tcp -> 0.0.0.0:{port}"))
            && ports.contains(&format!("127.0.0.1:{}", port + 1)),
        "{ports}"
    );
    assert!(
        scene
            .run_and("ps --filter name=%web --format", &["{{.Ports}}"])
            .ok()
            .contains(&format!("0.0.0.0:{port}->80/tcp"))
    );
    // From inside, through the host's address: also by the publisher itself.
    let seen = scene.sh("web", &format!("wget -qO- http://192.0.2.1:{port}/name"));
    assert_eq!(seen.ok(), "webhost");
    let seen = scene
        .run(&format!(
            "run --rm busybox wget -qO- http://192.0.2.1:{port}/name"
        ))
        .ok();
    assert_eq!(seen, "webhost");
    scene.run("rm -f %web").ok();
    assert!(http(&format!("http://127.0.0.1:{port}/name")).is_none());
}

fn n02(scene: &Scene) {
    let port = scene.port(3);
    scene
        .run_and(
            &format!("run -d --name %first -p {port}:80 busybox sh -c"),
            &[WEB],
        )
        .ok();
    scene
        .run(&format!("run --name %second -p {port}:80 busybox true"))
        .fails(125, "port is already allocated");
    assert_eq!(scene.inspect("second", "{{.State.Status}}"), "created");
    scene.run("rm -f %first").ok();
    // Free again at once.
    scene.run("start -a %second").ok();
    scene.run("rm %second").ok();
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let output = scene.run(&format!("run --rm -p {port}:80 busybox true"));
    output.fails(125, "address already in use");
    drop(listener);
}

fn n03(scene: &Scene) {
    scene
        .run_and("run -d --name %web -h webhost busybox sh -c", &[WEB])
        .ok();
    let ip = scene.inspect("web", "{{.NetworkSettings.IPAddress}}");
    let seen = scene
        .run_and(
            "run --rm --link %web:alias busybox sh -c",
            &["until wget -qO- http://alias/name; do sleep 0.05; done; grep alias /etc/hosts"],
        )
        .ok();
    assert!(
        seen.starts_with("webhost\n") && seen.contains(&ip),
        "{seen}"
    );
    let seen = scene
        .run(&format!(
            "run --rm busybox wget -qO- http://{}/name",
            scene.name("web")
        ))
        .ok();
    assert_eq!(seen, "webhost");
    // A link follows its target through a restart.
    scene
        .run("run -d --name %client --link %web:alias busybox sleep 1000")
        .ok();
    scene.run("restart -t 0 %web").ok();
    until("the link works again", || {
        (scene.sh("client", "wget -qO- http://alias/name").stdout == "webhost\n").then_some(())
    });
    let env = scene
        .run(&format!(
            "run --rm --link {}:alias busybox env",
            scene.name("web")
        ))
        .ok();
    assert!(env.contains("ALIAS_NAME="), "{env}");
    scene.run("rm -f %web %client").ok();
}

fn n04(scene: &Scene) {
    let interfaces = |network: &str| {
        scene
            .run(&format!(
                "run --rm --network {network} busybox ls /sys/class/net"
            ))
            .ok()
    };
    assert_eq!(interfaces("none"), "lo");
    let bridged = interfaces("bridge");
    assert!(
        bridged.contains("eth0") && bridged.contains("lo"),
        "{bridged}"
    );
    assert!(interfaces("host").contains("outer0"));
    scene
        .run("run --rm --network none busybox ping -c 1 127.0.0.1")
        .ok();
    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        scene
            .run("run --rm --network host busybox readlink /proc/self/ns/net")
            .ok(),
        namespace.to_str().unwrap()
    );
    scene
        .run_and("run -d --name %web busybox sh -c", &[WEB])
        .ok();
    let seen = scene
        .run_and(
            "run --rm --network container:%web busybox sh -c",
            &["until wget -qO- http://127.0.0.1/name; do sleep 0.05; done"],
        )
        .ok();
    assert_eq!(seen.len(), 12, "{seen}");
    let mtu = scene
        .run("run --rm busybox cat /sys/class/net/eth0/mtu")
        .ok();
    assert_eq!(mtu, "1500");
    scene.run("rm -f %web").ok();
}

fn n05(scene: &Scene) {
    let seen = scene
        .run_and("run --rm --dns 192.0.2.53 --dns-search example.test --dns-option ndots:3 --add-host extra:192.0.2.9 --add-host gate:host-gateway busybox sh -c", &["cat /etc/resolv.conf /etc/hosts"])
        .ok();
    for line in [
        "nameserver 192.0.2.53",
        "search example.test",
        "options ndots:3",
        "192.0.2.9\textra",
    ] {
        assert!(seen.contains(line), "{line} in\n{seen}");
    }
    assert!(seen.lines().any(|line| line.ends_with("\tgate")), "{seen}");
    scene
        .run("run --rm --add-host nonsense busybox true")
        .fails(125, "");
}

fn n06(scene: &Scene) {
    let port = scene.port(6);
    scene
        .run_and(
            &format!("run -d --name %udp -p {port}:9999/udp debian python3 -c"),
            &["import socket as s\nu = s.socket(s.AF_INET, s.SOCK_DGRAM)\nu.bind(('', 9999))\nwhile True:\n d, a = u.recvfrom(99)\n u.sendto(d, a)"],
        )
        .ok();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    let answer = until("the datagram comes back", || {
        // Refused until the server listens.
        drop(socket.send(b"ping"));
        let mut buffer = [0; 16];
        socket
            .recv(&mut buffer)
            .ok()
            .map(|length| buffer[..length].to_vec())
    });
    assert_eq!(answer, b"ping");
    assert!(
        scene
            .run("port %udp 9999/udp")
            .ok()
            .contains(&port.to_string())
    );
    scene.run("rm -f %udp").ok();
}

fn n07(scene: &Scene) {
    let listener = TcpListener::bind(("192.0.2.1", scene.port(7))).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from the host\n").unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
    });
    let seen = scene
        .run(&format!(
            "run --rm busybox nc -w 5 192.0.2.1 {}",
            scene.port(7)
        ))
        .ok();
    assert_eq!(seen, "from the host");
    server.join().unwrap();
    scene
        .run_and("run -d --name %web -h webhost busybox sh -c", &[WEB])
        .ok();
    let ip = scene.inspect("web", "{{.NetworkSettings.IPAddress}}");
    until("the host reaches the container", || {
        http(&format!("http://{ip}/name"))
    });
    assert_eq!(
        scene
            .run(&format!("run --rm busybox wget -qO- http://{ip}/name"))
            .ok(),
        "webhost"
    );
    scene.run("rm -f %web").ok();
}

fn n08(scene: &Scene) {
    let image = format!("{}-exposing", scene.prefix);
    scene.run("create --name %base busybox").ok();
    scene
        .run_and(
            "commit -c",
            &[
                "EXPOSE 80",
                "-c",
                "EXPOSE 81/udp",
                &scene.name("base"),
                &image,
            ],
        )
        .ok();
    scene
        .run_and(
            &format!("run -d --name %web -P --expose 82 {image} sh -c"),
            &[WEB],
        )
        .ok();
    let ports = scene.run("port %web").ok();
    for port in [
        "80/tcp -> 0.0.0.0:",
        "81/udp -> 0.0.0.0:",
        "82/tcp -> 0.0.0.0:",
    ] {
        assert!(ports.contains(port), "{port} in {ports}");
    }
    let line = scene.run("port %web 80").ok();
    let number = line.lines().next().unwrap().rsplit(':').next().unwrap();
    until("it answers", || {
        http(&format!("http://127.0.0.1:{number}/name"))
    });
    // Only listed without -P.
    scene
        .run_and(&format!("run -d --name %quiet {image} sh -c"), &[WEB])
        .ok();
    assert_eq!(
        scene
            .run_and("ps --filter name=%quiet --format", &["{{.Ports}}"])
            .ok(),
        "80/tcp, 81/udp"
    );
    scene.run("port %quiet 80").fails(1, "o public port");
    scene.run("rm -f %web %quiet %base").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn n09(scene: &Scene) {
    let listed = scene.run("network ls --format {{.Name}}:{{.Driver}}").ok();
    for line in ["bridge:bridge", "host:host", "none:null"] {
        assert!(
            listed.lines().any(|seen| seen == line),
            "{line} in {listed}"
        );
    }
    scene.run("run -d --name %it busybox sleep 1000").ok();
    let bridge = scene.run("network inspect bridge").json();
    let ip = scene.inspect("it", "{{.NetworkSettings.IPAddress}}");
    let containers = bridge[0]["Containers"].as_object().unwrap();
    assert!(
        containers.values().any(|it| it["IPv4Address"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{ip}/"))),
        "{containers:?}"
    );
    scene
        .run("network inspect nosuchnetwork")
        .fails(1, "network nosuchnetwork not found");
    scene.run("rm -f %it").ok();
}

fn n10(scene: &Scene) {
    for _ in 0..3 {
        scene.run("run --rm busybox true").ok();
    }
    scene.run("run -d --name %it busybox sleep 1000").ok();
    let ip = scene.inspect("it", "{{.NetworkSettings.IPAddress}}");
    let mac = scene.inspect("it", "{{.NetworkSettings.MacAddress}}");
    assert_eq!(mac.split(':').count(), 6);
    scene.run("kill %it").ok();
    scene.run("wait %it").ok();
    until("the address is given back", || {
        scene
            .inspect("it", "{{.NetworkSettings.IPAddress}}")
            .is_empty()
            .then_some(())
    });
    scene.run("start %it").ok();
    assert_eq!(
        scene
            .inspect("it", "{{.NetworkSettings.IPAddress}}")
            .split('.')
            .count(),
        ip.split('.').count()
    );
    scene.run("rm -f %it").ok();
}

/// The beginning of a subnet that no other scenario has, nor this one with the other client.
fn subnet(scene: &Scene, number: u16) -> String {
    let client = if scene.port(0) == 18_000 { 0 } else { 100 };
    format!("10.200.{}", number + client)
}

/// What a container is told when it asks for a name, sorted.
fn addresses(scene: &Scene, container: &str, name: &str) -> Vec<String> {
    let output = scene
        .sh(container, &format!("nslookup {name} 2>&1; true"))
        .ok();
    let mut found: Vec<String> = output
        .lines()
        .skip_while(|line| !line.starts_with("Name:"))
        .filter_map(|line| line.strip_prefix("Address"))
        .filter_map(|line| line.rsplit(' ').next())
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

fn ip_on(scene: &Scene, container: &str, network: &str) -> String {
    let network = scene.name(network);
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    scene.inspect(container, &format)
}

/// Asks twice over one TCP connection and prints the addresses.
const ASK_TWICE: &str = r#"
import socket, struct
q = struct.pack('>HHHHHH', 7, 256, 1, 0, 0, 0) + b'\3www\0' + struct.pack('>HH', 1, 1)
s = socket.create_connection(('127.0.0.11', 53))
s.sendall((struct.pack('>H', len(q)) + q) * 2)
f = s.makefile('rb')
for _ in 0, 1:
    r = f.read(struct.unpack('>H', f.read(2))[0])
    print('.'.join(map(str, r[-4:])))
"#;

const TAKE_PORT_53: &str = r#"
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('', 53))
"#;

/// A name server for which every name has one address.
const NAME_SERVER: &str = r#"
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('', 53))
print('serves', flush=True)
while True:
    q, a = u.recvfrom(512)
    n = 12
    while q[n]:
        n += q[n] + 1
    is_a = q[n + 1:n + 3] == b'\0\1'
    q = q[:n + 5]
    head = q[:2] + b'\x81\x80\0\1\0' + (b'\1' if is_a else b'\0') + b'\0\0\0\0'
    tail = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3' if is_a else b''
    u.sendto(head + q[12:] + tail, a)
"#;

fn n11(scene: &Scene) {
    scene.run("network create %net").ok();
    scene
        .run_and(
            "run -d --name %web -h webhost --network %net --network-alias www --network-alias all busybox sh -c",
            &[WEB],
        )
        .ok();
    scene
        .run("run -d --name %two --network %net --network-alias all busybox sleep 1000")
        .ok();
    let (web, two) = (ip_on(scene, "web", "net"), ip_on(scene, "two", "net"));
    let id = scene.inspect("web", "{{.Id}}");
    let (name, network) = (scene.name("web"), scene.name("net"));
    let with_network = format!("{name}.{network}");
    for called in [&name, "www", "webhost", &id[..12], &with_network, "WWW"] {
        assert_eq!(
            addresses(scene, "two", called),
            std::slice::from_ref(&web),
            "{called}"
        );
    }
    let mut both = vec![web.clone(), two];
    both.sort();
    assert_eq!(addresses(scene, "two", "all"), both);
    until("it serves", || {
        (scene.sh("two", "wget -qO- http://www/name").stdout == "webhost\n").then_some(())
    });
    let resolv = scene.sh("two", "cat /etc/resolv.conf").ok();
    assert!(
        resolv.starts_with("nameserver 127.0.0.11\n") && resolv.contains("ndots:0"),
        "{resolv}"
    );
    let reverse = scene.sh("two", &format!("nslookup {web}")).ok();
    assert!(reverse.contains(&with_network), "{reverse}");
    // A name without an IPv6 address exists all the same.
    scene.sh("two", &format!("nslookup -type=aaaa {name}")).ok();
    let seen = scene.run_and("run --rm --network %net debian python3 -c", &[ASK_TWICE]);
    assert_eq!(seen.ok(), format!("{web}\n{web}"));
    // A name server of the container's own may have the port.
    scene
        .run_and("run --rm --network %net debian python3 -c", &[TAKE_PORT_53])
        .ok();
    // Names follow their container.
    scene.run("rename %web %new").ok();
    assert_eq!(addresses(scene, "two", &scene.name("new")), [web]);
    scene.run("rm -f %new").ok();
    assert_eq!(addresses(scene, "two", "all").len(), 1);
    scene.run("rm -f %two").ok();
    scene.run("network rm %net").ok();
}

fn n12(scene: &Scene) {
    scene.run("network create %a").ok();
    scene.run("network create %b").ok();
    scene
        .run_and("run -d --name %web --network %a busybox sh -c", &[WEB])
        .ok();
    let url = format!("http://{}/name", scene.name("web"));
    let reached = |container: &str| {
        until(&format!("{container} reaches it"), || {
            let output = scene.sh(container, &format!("timeout 2 wget -qO- {url}"));
            (output.code == 0).then_some(())
        });
    };
    scene
        .run("run -d --name %it --network %b busybox sleep 1000")
        .ok();
    scene.run("network connect --alias second %a %it").ok();
    let links = scene.sh("it", "ls /sys/class/net; ip route").ok();
    assert!(links.contains("eth0") && links.contains("eth1"), "{links}");
    assert_eq!(links.matches("default via").count(), 1, "{links}");
    reached("it");
    assert_eq!(addresses(scene, "web", "second").len(), 1);
    scene.run("restart -t 0 %it").ok();
    reached("it");
    // Its way out was the one that it leaves.
    scene.run("network disconnect %a %it").ok();
    let links = scene.sh("it", "ip route").ok();
    assert_eq!(links.matches("default via").count(), 1, "{links}");
    assert_eq!(links.lines().count(), 2, "{links}");
    scene
        .run("network disconnect %a %it")
        .fails(1, "is not connected to");
    // One that was on the default bridge gets its resolver with the network.
    scene.run("run -d --name %late busybox sleep 1000").ok();
    scene.run("network connect %a %late").ok();
    reached("late");
    // A container that does not run is only told.
    scene.run("create --name %rest busybox sleep 1000").ok();
    scene.run("network connect %a %rest").ok();
    scene.run("start %rest").ok();
    reached("rest");
    assert!(scene.sh("rest", "ls /sys/class/net").ok().contains("eth1"));
    scene.run("rm -f %web %it %late %rest").ok();
    scene.run("network rm %a %b").ok();
}

fn n13(scene: &Scene) {
    let net = subnet(scene, 13);
    scene
        .run(&format!(
            "network create --subnet {net}.0/24 --ip-range {net}.128/25 --gateway {net}.254 --aux-address host={net}.128 -o com.docker.network.driver.mtu=1400 %net"
        ))
        .ok();
    let seen = scene
        .run("run --rm --network %net busybox ip addr show eth0")
        .ok();
    assert!(
        seen.contains(&format!("inet {net}.129/24")) && seen.contains("mtu 1400"),
        "{seen}"
    );
    let seen = scene
        .run_and(
            &format!(
                "run --rm --network %net --ip {net}.7 --mac-address 02:42:00:00:00:07 busybox sh -c"
            ),
            &["ip addr show eth0; ip route"],
        )
        .ok();
    for part in [
        format!("inet {net}.7/24"),
        "02:42:00:00:00:07".to_owned(),
        format!("default via {net}.254"),
    ] {
        assert!(seen.contains(&part), "{part} in {seen}");
    }
    scene
        .run(&format!(
            "run -d --name %first --network %net --ip {net}.9 busybox sleep 1000"
        ))
        .ok();
    scene
        .run(&format!(
            "run --rm --network %net --ip {net}.9 busybox true"
        ))
        .fails(125, "Address already in use");
    scene
        .run("run --rm --network %net --ip 10.1.1.1 busybox true")
        .fails(125, "ip-range contain the IP address 10.1.1.1");
    scene.run("network create %free").ok();
    scene
        .run("run --rm --network %free --ip 10.1.1.1 busybox true")
        .fails(
            125,
            "only when connecting to networks with user configured subnets",
        );
    scene.run("rm -f %first").ok();
    scene.run("network rm %net %free").ok();
}

fn n14(scene: &Scene) {
    let net = subnet(scene, 14);
    scene
        .run(&format!(
            "network create --internal --subnet {net}.0/24 %in"
        ))
        .ok();
    scene.run("network create %out").ok();
    scene
        .run("network create -o com.docker.network.bridge.enable_icc=false %alone")
        .ok();
    scene
        .run_and(
            &format!("run -d --name %web --network %in --ip {net}.2 busybox sh -c"),
            &[WEB],
        )
        .ok();
    // A first process takes no signal that it does not ask for: `timeout` needs an init above it.
    let reach = |network: &str, address: &str| {
        let line = format!(
            "run --rm --init --network %{network} busybox timeout 2 wget -qO- http://{address}/name"
        );
        scene.run(&line).code == 0
    };
    until("it serves", || {
        reach("in", &format!("{net}.2")).then_some(())
    });
    assert!(!reach("out", &format!("{net}.2")));
    let routes = scene.sh("web", "ip route").ok();
    assert!(!routes.contains("default"), "{routes}");
    assert_ne!(scene.sh("web", "ping -c 1 -W 1 192.0.2.1").code, 0);
    // Nothing is passed on, and that is said at once.
    let seen = scene.sh("web", "nslookup example.com 2>&1; true").ok();
    assert!(seen.contains("SERVFAIL"), "{seen}");
    scene
        .run_and("run -d --name %a --network %alone busybox sh -c", &[WEB])
        .ok();
    until("it serves itself", || {
        let output = scene.sh("a", "timeout 2 wget -qO- http://127.0.0.1/name");
        (output.code == 0).then_some(())
    });
    assert!(!reach("alone", &scene.name("a")));
    scene
        .run("run --rm --network %alone busybox ping -c 1 -W 5 192.0.2.1")
        .ok();
    scene.run("rm -f %web %a").ok();
    scene.run("network rm %in %out %alone").ok();
}

fn n15(scene: &Scene) {
    let net = subnet(scene, 15);
    let (name, it) = (scene.name("net"), scene.name("it"));
    scene
        .run(&format!("network create --subnet {net}.0/24 %net"))
        .ok();
    scene
        .run("run -d --name %it --network %net busybox sleep 1000")
        .ok();
    let create = "network create --subnet";
    for (line, text) in [
        (
            "network create %net",
            format!("network with name {name} already exists"),
        ),
        (
            &format!("{create} {net}.128/25 %other"),
            "Pool overlaps with other one on this address space".into(),
        ),
        (
            &format!("{create} {net}.1/24 %other"),
            "invalid network config".into(),
        ),
        (
            "network create -d overlay %other",
            "This node is not a swarm manager".into(),
        ),
        (
            "network create -d macvlan %other",
            "plugin \"macvlan\" not found".into(),
        ),
        (
            "network create bridge",
            "operation is not permitted on predefined bridge network".into(),
        ),
        (
            "network rm host",
            "host is a pre-defined network and cannot be removed".into(),
        ),
        ("network rm nosuch", "network nosuch not found".into()),
        ("network connect %net nosuch", "o such container".into()),
        (
            "network connect nosuch %it",
            "network nosuch not found".into(),
        ),
        (
            "network connect host %it",
            "cannot connect container to host network".into(),
        ),
        ("network connect none %it", "in private (none) mode".into()),
        (
            "network connect %net %it",
            format!("endpoint with name {it} already exists in network {name}"),
        ),
        (
            "network rm %net",
            format!("network {name} has active endpoints (name:\"{it}\" id:\""),
        ),
    ] {
        scene.run(line).fails(1, &text);
    }
    scene
        .run("run --rm --network nosuch busybox true")
        .fails(125, "network nosuch not found");
    scene.run("rm -f %it").ok();
    scene.run("network rm %net").ok();
    let listed = scene.run_and("network ls --format", &["{{.Name}}"]).ok();
    assert!(!listed.contains(&format!("{}-", scene.prefix)), "{listed}");
}

fn n16(scene: &Scene) {
    let _one = one_prune_at_a_time();
    let label = format!("of={}", scene.prefix);
    for name in ["used", "spare"] {
        scene
            .run(&format!("network create --label {label} %{name}"))
            .ok();
    }
    let started = scene
        .run("run -d --name %it --network %used busybox sleep 1000")
        .ok();
    let names = |filter: &str| {
        scene
            .run_and(
                &format!("network ls --filter label={label} --filter {filter} --format"),
                &["{{.Name}}"],
            )
            .ok()
    };
    assert_eq!(names("dangling=true"), scene.name("spare"));
    assert_eq!(names("dangling=false"), scene.name("used"));
    assert_eq!(names("type=builtin"), "");
    assert_eq!(names("driver=bridge").lines().count(), 2);
    scene
        .run("network ls --filter nosuch=1")
        .fails(1, "invalid filter");
    let inspected = scene.run("network inspect %used").json();
    let on = &inspected[0]["Containers"][started.trim()];
    assert_eq!(on["Name"], scene.name("it").as_str());
    assert_eq!(on["EndpointID"].as_str().unwrap().len(), 64);
    let pruned = scene
        .run(&format!("network prune -f --filter label={label}"))
        .ok();
    assert!(
        pruned.contains(&scene.name("spare")) && !pruned.contains(&scene.name("used")),
        "{pruned}"
    );
    scene.run("rm -f %it").ok();
    scene.run("network rm %used").ok();
    let until_now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 1;
    let events = scene
        .run_and(
            &format!("events --since 10m --until {until_now} --filter type=network --format"),
            &["{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}"],
        )
        .ok();
    let used = format!(" {} bridge", scene.name("used"));
    let ours: Vec<&str> = events
        .lines()
        .filter_map(|line| line.strip_suffix(&used))
        .collect();
    assert_eq!(ours, ["create", "connect", "disconnect", "destroy"]);
}

fn n17(scene: &Scene) {
    let port = scene.port(17);
    scene.run("network create %a").ok();
    scene.run("network create %b").ok();
    scene
        .run_and(
            &format!("run -d --name %web -h webhost --network %b -p {port}:80 busybox sh -c"),
            &[WEB],
        )
        .ok();
    let url = format!("http://127.0.0.1:{port}/name");
    let answers = || {
        for host in ["127.0.0.1", "192.0.2.1", "[::1]"] {
            let url = format!("http://{host}:{port}/name");
            assert_eq!(until(&format!("{url} answers"), || http(&url)), "webhost\n");
        }
    };
    answers();
    // The way out moves to the network whose name comes first, and back.
    scene.run("network connect %a %web").ok();
    answers();
    scene.run("network disconnect %a %web").ok();
    answers();
    scene.run("network connect %a %web").ok();
    scene.run("network disconnect %b %web").ok();
    answers();
    let ports = scene.run("port %web").ok();
    assert!(ports.contains(&format!("0.0.0.0:{port}")), "{ports}");
    scene.run("network disconnect %a %web").ok();
    assert!(http(&url).is_none());
    scene.run("network connect %a %web").ok();
    answers();
    scene.run("rm -f %web").ok();
    scene.run("network rm %a %b").ok();
}

fn n18(scene: &Scene) {
    scene.run("network create %net").ok();
    scene
        .run("create --name %it --network %net busybox true")
        .ok();
    scene.run("network rm %net").ok();
    scene
        .run("start %it")
        .fails(1, &format!("network {} not found", scene.name("net")));
    scene.run("network disconnect %net %it").ok();
    scene.run("start -a %it").ok();
    scene.run("rm %it").ok();
}

fn n19(scene: &Scene) {
    let net = subnet(scene, 19);
    scene
        .run(&format!("network create --subnet {net}.0/24 %net"))
        .ok();
    scene
        .run_and(
            &format!("run -d --name %server --network %net --ip {net}.53 debian python3 -c"),
            &[NAME_SERVER],
        )
        .ok();
    scene.until_logs("server", "serves");
    scene
        .run(&format!(
            "run -d --name %it --network %net --dns {net}.99 --dns {net}.53 busybox sleep 1000"
        ))
        .ok();
    // The first one never answers; names of neighbours do not wait for it.
    let name = scene.name("server");
    assert_eq!(addresses(scene, "it", &name), [format!("{net}.53")]);
    assert_eq!(addresses(scene, "it", "www.example.com"), ["10.1.2.3"]);
    scene.run("rm -f %server %it").ok();
    scene.run("network rm %net").ok();
}

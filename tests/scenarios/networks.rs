//! Networks: published ports, names, links, modes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use testkit::until;

use super::{Scenario, Scene, http};

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

//! Networks that users make.

use super::Operation;
use crate::Scene;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "network-create",
        prepare: |_| {},
        run: "network create --subnet 10.99.1.0/24 made",
        check: |scene| {
            // Absent, its name, its device and its subnet free, or complete.
            if scene.run("network inspect made").code != 0 {
                scene.run("network create --subnet 10.99.1.0/24 made").ok();
            }
            let seen = scene
                .run("run --rm --network made --ip 10.99.1.7 busybox ip -4 addr show eth0")
                .ok();
            assert!(seen.contains("10.99.1.7/24"), "{seen}");
            scene.run("network rm made").ok();
            bridges(scene, 0);
        },
    },
    Operation {
        prefix: "network-remove",
        prepare: |scene| {
            scene.run("network create made").ok();
        },
        run: "network rm made",
        check: |scene| {
            if scene.run("network inspect made").code == 0 {
                scene.run("run --rm --network made busybox true").ok();
                scene.run("network rm made").ok();
            }
            bridges(scene, 0);
            scene.run("network create made").ok();
            bridges(scene, 1);
            scene.run("network rm made").ok();
        },
    },
    Operation {
        prefix: "network-change",
        prepare: |scene| {
            scene.run("network create made").ok();
            scene.run("run -d --name it busybox sleep 1000").ok();
            scene
                .run("run -d --name other --network made busybox sleep 1000")
                .ok();
        },
        run: "network connect --alias alias made it",
        check: |scene| {
            // The record was written: the connection is there, or is made now.
            let there = "{{.NetworkSettings.Networks.made.IPAddress}}";
            let address = scene.inspect("it", there);
            let seen = scene.run("exec it ip -4 addr").ok();
            assert!(seen.contains(&format!("inet {address}/")), "{seen}");
            scene.run("exec other nslookup alias").ok();
            scene.run("network disconnect made it").ok();
            let seen = scene.run("exec it ip -4 addr").ok();
            assert!(!seen.contains(&format!("inet {address}/")), "{seen}");
            scene.run("rm -f it other").ok();
            scene.run("network rm made").ok();
        },
    },
];

/// Bridges of networks that users made.
fn bridges(scene: &Scene, expected: usize) {
    let links = std::process::Command::new("ip")
        .args(["-o", "link", "show", "type", "bridge"])
        .output()
        .unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    let found = links.lines().filter(|line| line.contains(": br-")).count();
    // Scenes share a host; each looks at its own networks only.
    let own = scene.run("network ls -q --filter type=custom").ok();
    let ours = own
        .lines()
        .filter(|id| links.contains(&format!("br-{id}")))
        .count();
    assert_eq!(own.lines().count(), expected, "{own}");
    assert!(ours == expected && found >= expected, "{links}");
}

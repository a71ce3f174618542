//! A private host for a test run: its own network and mounts.

use std::process::Command;

const OUTER: &str = "outer0";
const OUTER_PEER: &str = "outer1";
/// The address under which the test host is reached "from outside", beside 127.0.0.1.
const OUTER_ADDRESS: &str = "192.0.2.1";

/// Proof that this process lives in namespaces of its own.
#[derive(Debug)]
pub struct Host {
    /// Host-wide facts to compare with at the end.
    pub address: &'static str,
}

impl Host {
    /// Moves the calling process into new network and mount namespaces. Must run before any thread exists.
    ///
    /// # Panics
    /// When not root, or when the kernel refuses.
    pub fn enter() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root"
        );
        sys::namespace::new_host().unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        // Engines of the host choose their subnets one after the other; ours have a network of their own to choose in.
        std::fs::create_dir_all("/run/lock").unwrap();
        run("mount", &["-t", "tmpfs", "none", "/run/lock"]);
        // Not a dummy device: not every kernel has them, and containers need this kind anyway.
        run(
            "ip",
            &[
                "link", "add", OUTER, "type", "veth", "peer", "name", OUTER_PEER,
            ],
        );
        run("ip", &["link", "set", OUTER_PEER, "up"]);
        run(
            "ip",
            &["addr", "add", &format!("{OUTER_ADDRESS}/24"), "dev", OUTER],
        );
        run("ip", &["link", "set", OUTER, "up"]);
        run("ip", &["route", "add", "default", "dev", OUTER]);
        Self {
            address: OUTER_ADDRESS,
        }
    }

    /// Network interfaces, firewall tables, mounts and cgroups that carry our name: empty when nothing was left behind.
    pub fn leftovers(&self, tag: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in text("ip", &["-o", "link"]).lines() {
            let name = line.split([':', '@']).nth(1).unwrap_or_default().trim();
            if !["", "lo", OUTER, OUTER_PEER].contains(&name) {
                found.push(format!("interface {name}"));
            }
        }
        found.extend(
            text("nft", &["list", "tables"])
                .lines()
                .map(|line| format!("firewall {line}")),
        );
        for mount in std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
        {
            if mount.contains(tag) || mount.contains("/merged") {
                found.push(format!("mount {mount}"));
            }
        }
        for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = controller.path().join(format!("orlop-{tag}"));
            if let Ok(entries) = std::fs::read_dir(&group) {
                found.extend(
                    entries
                        .flatten()
                        .filter(|entry| entry.path().is_dir())
                        .map(|entry| format!("cgroup {}", entry.path().display())),
                );
            }
        }
        found
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn text(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

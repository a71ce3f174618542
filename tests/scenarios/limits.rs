//! Limits and confinement: memory, processor, processes, capabilities, seccomp, devices, read-only roots.

use std::fs;

use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("l01_memory", l01),
    ("l02_cpus", l02),
    ("l03_pids", l03),
    ("l04_ulimits", l04),
    ("l05_capabilities", l05),
    ("l06_privileges_and_seccomp", l06),
    ("l07_read_only_root", l07),
    ("l08_devices", l08),
    ("l09_masked_paths", l09),
    ("l10_shared_memory_and_namespaces", l10),
    ("l11_stats", l11),
    ("l12_sysctls", l12),
    ("l13_the_engines_program", l13),
];

fn l01(scene: &Scene) {
    scene
        .run("run --name %oom -m 32m --memory-swap 32m busybox tail /dev/zero")
        .fails(137, "");
    assert_eq!(
        scene.inspect(
            "oom",
            "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}"
        ),
        "true 137 exited"
    );
    let limit = scene
        .run_and("run --rm -m 48m --memory-reservation 32m busybox sh -c", &["cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"])
        .ok();
    assert_eq!(limit, (48 << 20).to_string());
    scene
        .run("run --name %fine -m 64m --memory-swap 64m busybox true")
        .ok();
    assert_eq!(scene.inspect("fine", "{{.State.OOMKilled}}"), "false");
    scene.run("rm %oom %fine").ok();
}

fn l02(scene: &Scene) {
    let read = |flags: &str, v1: &str, v2: &str| {
        let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
        scene
            .run_and(&format!("run --rm {flags} busybox sh -c"), &[&script])
            .ok()
    };
    let quota = read("--cpus 0.5", "cpu/cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota.split(' ').next().unwrap(), "50000");
    let set = read("--cpuset-cpus 0", "cpuset/cpuset.cpus", "cpuset.cpus");
    assert_eq!(set, "0");
    let weight = read("--cpu-shares 512", "cpu/cpu.shares", "cpu.weight");
    assert!(
        weight == "512" || weight == "20" || weight == "59",
        "{weight}"
    );
}

fn l03(scene: &Scene) {
    let limited = scene.run_and(
        "run --rm --pids-limit 10 busybox sh -c",
        &["for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait"],
    );
    assert!(limited.stderr.contains("can't fork"), "{limited}");
    scene
        .run_and(
            "run --rm --pids-limit -1 busybox sh -c",
            &["for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.1 & done; wait"],
        )
        .ok();
}

fn l04(scene: &Scene) {
    let seen = scene
        .run_and(
            "run --rm --ulimit nofile=100:200 --ulimit core=0 busybox sh -c",
            &["ulimit -n; ulimit -Hn; ulimit -c"],
        )
        .ok();
    assert_eq!(seen, "100\n200\n0");
    assert_eq!(
        scene
            .run_and("run --rm --ulimit nofile=64 busybox sh -c", &["ulimit -Hn"])
            .ok(),
        "64"
    );
    scene
        .run("run --rm --ulimit nonsense=1 busybox true")
        .fails(125, "nonsense");
}

fn l05(scene: &Scene) {
    let effective = |flags: &str| {
        let seen = scene
            .run(&format!(
                "run --rm {flags} busybox grep CapEff /proc/self/status"
            ))
            .ok();
        u64::from_str_radix(seen.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    const DEFAULT: u64 = 0xa804_25fb;
    assert_eq!(effective(""), DEFAULT);
    assert_eq!(effective("--cap-drop ALL"), 0);
    assert_eq!(effective("--cap-add NET_ADMIN"), DEFAULT | 1 << 12);
    assert_eq!(
        effective("--cap-add CAP_NET_ADMIN --cap-drop MKNOD"),
        (DEFAULT | 1 << 12) & !(1 << 27)
    );
    assert_eq!(effective("--cap-drop ALL --cap-add CHOWN"), 1);
    assert_eq!(effective("-u www-data"), 0);
    assert!(effective("--privileged") & (1 << 21) != 0);
    scene
        .run("run --rm --cap-drop CHOWN busybox chown 1 /tmp")
        .fails(1, "not permitted");
    scene
        .run("run --rm --cap-drop ALL busybox chroot / true")
        .fails(1, "not permitted");
}

fn l06(scene: &Scene) {
    let status = |flags: &str, key: &str| {
        let seen = scene
            .run(&format!(
                "run --rm {flags} busybox grep ^{key}: /proc/self/status"
            ))
            .ok();
        seen.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(status("", "NoNewPrivs"), "0");
    assert_eq!(
        status("--security-opt no-new-privileges", "NoNewPrivs"),
        "1"
    );
    assert_eq!(
        status("--security-opt no-new-privileges:true", "NoNewPrivs"),
        "1"
    );
    assert_eq!(status("", "Seccomp"), "2");
    assert_eq!(status("--security-opt seccomp=unconfined", "Seccomp"), "0");
    assert_eq!(status("--privileged", "Seccomp"), "0");
    scene
        .run("run --rm busybox mount -t tmpfs x /mnt")
        .fails(1, "permission denied");
    scene
        .run_and(
            "run --rm --privileged busybox sh -c",
            &["mkdir /m; mount -t tmpfs x /m"],
        )
        .ok();
    scene
        .run("run --rm busybox unshare -U true")
        .fails(1, "not permitted");
}

fn l07(scene: &Scene) {
    scene
        .run("run --rm --read-only busybox touch /x")
        .fails(1, "Read-only file system");
    scene
        .run_and(
            "run --rm --read-only --tmpfs /tmp -v %vol:/data -v /anon busybox sh -c",
            &["touch /tmp/x /data/x /anon/x /dev/shm/x && cat /etc/hosts >/dev/null"],
        )
        .ok();
    scene
        .run("run --rm --read-only busybox touch /etc/hosts")
        .fails(1, "Read-only file system");
    scene.run("volume rm %vol").ok();
}

fn l08(scene: &Scene) {
    let script = "mknod /tmp/d b 7 0 && head -c 1 /tmp/d";
    scene
        .run_and("run --rm busybox sh -c", &[script])
        .fails(1, "Operation not permitted");
    let seen = scene
        .run("run --rm --device /dev/null:/dev/xnull:r busybox ls -l /dev/xnull")
        .ok();
    assert!(seen.starts_with("crw") && seen.contains("1,   3"), "{seen}");
    let listed = scene.run("run --rm busybox ls /dev").ok();
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ] {
        assert!(
            listed.lines().any(|line| line == name),
            "{name} in {listed}"
        );
    }
    assert!(!listed.contains("loop"), "{listed}");
    assert_eq!(
        scene
            .run_and(
                "run --rm busybox sh -c",
                &["echo x > /dev/null; head -c 4 /dev/zero | wc -c"]
            )
            .ok(),
        "4"
    );
}

/// The first process of a container is a copy of one of the engine's, whose program it must not be able to write.
fn l13(scene: &Scene) {
    scene.run("run -d --name %it busybox sleep 1000").ok();
    let pid = scene.inspect("it", "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap()
        .trim();
    // To cut it off asks for the mount before it asks whether somebody runs it.
    let refused = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(format!("/proc/{shim}/exe"))
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    scene.run("rm -f %it").ok();
}

fn l09(scene: &Scene) {
    scene
        .run_and(
            "run --rm busybox sh -c",
            &["echo 1 > /proc/sys/kernel/panic"],
        )
        .fails(1, "Read-only file system");
    scene
        .run_and("run --rm busybox sh -c", &["mkdir /sys/x"])
        .fails(1, "");
    let seen = scene
        .run_and(
            "run --rm busybox sh -c",
            &["cat /proc/kcore | wc -c; cat /proc/keys | wc -c; ls /sys/firmware | wc -l"],
        )
        .ok();
    assert_eq!(seen, "0\n0\n0");
    let mounts = scene.run("run --rm busybox cat /proc/mounts").ok();
    assert!(
        mounts
            .lines()
            .any(|line| line.contains(" /sys ") && line.contains("ro,")),
        "{mounts}"
    );
    scene
        .run_and(
            "run --rm --privileged busybox sh -c",
            &["cat /proc/sys/kernel/panic > /proc/sys/kernel/panic"],
        )
        .ok();
}

fn l10(scene: &Scene) {
    let seen = scene
        .run("run --rm --shm-size 8m busybox df -k /dev/shm")
        .ok();
    assert!(seen.contains("8192"), "{seen}");
    let seen = scene.run("run --rm busybox df -k /dev/shm").ok();
    assert!(seen.contains("65536"), "{seen}");
    let seen = scene
        .run_and(
            "run --rm busybox sh -c",
            &["echo $$; ls /proc | grep -c '^[0-9]'"],
        )
        .ok();
    assert_eq!(seen.lines().next(), Some("1"));
    scene.run("run -d --name %it busybox sleep 1234").ok();
    let seen = scene.run("run --rm --pid container:%it busybox ps").ok();
    assert!(seen.contains("sleep 1234"), "{seen}");
    let seen = scene.run("run --rm --pid host busybox ps").ok();
    assert!(seen.lines().count() > 10, "{seen}");
    let host = fs::read_link("/proc/self/ns/uts").unwrap();
    assert_eq!(
        scene
            .run("run --rm --uts host busybox readlink /proc/self/ns/uts")
            .ok(),
        host.to_str().unwrap()
    );
    assert_ne!(
        scene
            .run("run --rm busybox readlink /proc/self/ns/uts")
            .ok(),
        host.to_str().unwrap()
    );
    let ipc = scene.sh("it", "readlink /proc/self/ns/net").ok();
    assert_eq!(
        scene
            .run("run --rm --network container:%it busybox readlink /proc/self/ns/net")
            .ok(),
        ipc
    );
    scene.run("rm -f %it").ok();
}

fn l11(scene: &Scene) {
    scene
        .run("run -d --name %it -m 64m --memory-swap 64m busybox sleep 1000")
        .ok();
    let seen = scene.run("stats --no-stream %it").ok();
    for title in [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ] {
        assert!(seen.contains(title), "{title} in {seen}");
    }
    assert!(seen.contains("64MiB"), "{seen}");
    let seen = scene
        .run_and(
            "stats --no-stream --format",
            &["{{.Name}} {{.PIDs}}", &scene.name("it")],
        )
        .ok();
    assert_eq!(seen, format!("{} 1", scene.name("it")));
    scene
        .run("stats --no-stream %nobody")
        .fails(1, "No such container");
    scene.run("rm -f %it").ok();
}

fn l12(scene: &Scene) {
    assert_eq!(
        scene
            .run(
                "run --rm --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward"
            )
            .ok(),
        "1"
    );
    scene
        .run("run --rm --sysctl kernel.panic=1 busybox true")
        .fails(125, "kernel.panic");
}

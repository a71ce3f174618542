//! Limits of the container as a whole, freezing, killing; on cgroup v1 and on a v2-only view of this host.

use std::fs;

use rustix::mount::{UnmountFlags, unmount};
use shim_protocol::spec::Resources;

use crate::Case;
use crate::fixture::{Fixture, cgroup_directories, pipes, read_all, read_until, wait};

pub(crate) const CASES: &[Case] = &[
    ("processes_are_counted", processes_are_counted),
    ("memory_is_limited", memory_is_limited),
    ("limits_change_while_running", limits_change_while_running),
    ("pause_and_unpause", pause_and_unpause),
    ("kill_all_and_clean", kill_all_and_clean),
    ("unified_hierarchy", unified_hierarchy),
];

/// The value of a control file, wherever the controller is mounted.
fn control(fixture: &Fixture, file: &str) -> String {
    let path = cgroup_directories(&fixture.spec)
        .into_iter()
        .map(|path| path.join(file))
        .find(|path| path.exists())
        .unwrap();
    fs::read_to_string(path).unwrap().trim().to_owned()
}

fn processes_are_counted() {
    let mut fixture =
        Fixture::shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all; kill %1");
    fixture.spec.resources.pids_limit = Some(4);
    let text = fixture.run().unwrap().output;
    assert!(
        text.contains("can't fork") && !text.contains("all"),
        "{text}"
    );
}

fn memory_is_limited() {
    let mut fixture = Fixture::shell(
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo $?; tail -c 100000000 /dev/zero",
    );
    fixture.spec.resources = Resources {
        memory: Some(16 << 20),
        memory_swap: Some(16 << 20),
        ..Resources::default()
    };
    let (streams, _, output) = pipes();
    let running = runtime::start(&fixture.spec, streams).unwrap();
    let text = read_all(output);
    let code = wait(&running);
    assert!(
        code == 137 || text.contains("137") || text.contains("Killed"),
        "{code} {text}"
    );
    assert!(runtime::oom_kills(&fixture.spec) > 0);
    runtime::clean(&fixture.spec).unwrap();
    // The first process cannot even be set up: said as such, not as a success.
    fixture.spec.resources.memory = Some(4096);
    fixture.spec.resources.memory_swap = None;
    fixture.script("true");
    if let Err(error) = fixture.run() {
        assert_eq!(error.code, 128, "{error:?}");
    }
}

fn limits_change_while_running() {
    let mut fixture = Fixture::shell("echo running; sleep 1000");
    fixture.spec.resources = Resources {
        memory: Some(64 << 20),
        memory_swap: Some(128 << 20),
        memory_reservation: Some(32 << 20),
        nano_cpus: Some(500_000_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        pids_limit: Some(50),
        ..Resources::default()
    };
    let (running, mut output) = fixture.start();
    read_until(&mut output, "running");
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        fixture.end(&running);
        return;
    }
    let see = |file| control(&fixture, file);
    assert_eq!(see("memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(see("memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(
        (see("cpu.cfs_quota_us"), see("cpu.shares")),
        ("50000".to_owned(), "512".to_owned())
    );
    assert_eq!(
        (see("cpuset.cpus"), see("pids.max")),
        ("0".to_owned(), "50".to_owned())
    );
    let update = Resources {
        memory: Some(512 << 20),
        memory_swap: Some(1 << 30),
        nano_cpus: Some(1_500_000_000),
        pids_limit: Some(-1),
        ..Resources::default()
    };
    runtime::update(&fixture.spec, &update).unwrap();
    assert_eq!(see("memory.limit_in_bytes"), (512 << 20).to_string());
    assert_eq!(
        (see("cpu.cfs_quota_us"), see("pids.max")),
        ("150000".to_owned(), "max".to_owned())
    );
    let back = Resources {
        memory: Some(64 << 20),
        memory_swap: Some(-1),
        ..Resources::default()
    };
    runtime::update(&fixture.spec, &back).unwrap();
    assert_eq!(see("memory.limit_in_bytes"), (64 << 20).to_string());
    let bad = Resources {
        cpuset_cpus: Some("99".to_owned()),
        ..Resources::default()
    };
    assert!(
        runtime::update(&fixture.spec, &bad)
            .unwrap_err()
            .to_string()
            .contains("cpuset.cpus")
    );
    fixture.end(&running);
}

fn pause_and_unpause() {
    let fixture = Fixture::shell("i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done");
    let (running, _output) = fixture.start();
    let count = fixture.directory.join("c/upper/tmp/count");
    let read = || fs::read_to_string(&count).unwrap_or_default();
    let patience = std::time::Instant::now();
    while read().is_empty() && patience.elapsed().as_secs() < 10 {}
    runtime::pause(&fixture.spec).unwrap();
    let frozen = read();
    let state = fs::read_to_string(format!("/proc/{}/stat", running.pid)).unwrap();
    assert!(
        state.contains(") D ") || state.contains(") S ") || state.contains(") R "),
        "{state}"
    );
    let begin = std::time::Instant::now();
    while begin.elapsed().as_millis() < 100 {
        assert_eq!(read(), frozen);
    }
    runtime::unpause(&fixture.spec).unwrap();
    let patience = std::time::Instant::now();
    while read() == frozen {
        assert!(patience.elapsed().as_secs() < 10, "it runs on");
    }
    // A paused container can be cleaned away all the same.
    runtime::pause(&fixture.spec).unwrap();
    runtime::clean(&fixture.spec).unwrap();
    assert_eq!(wait(&running), 137);
}

fn kill_all_and_clean() {
    let mut fixture = Fixture::shell("sleep 1000 & sleep 1001 & echo running; wait");
    fixture.spec.namespaces.pid = shim_protocol::spec::NsMode::Host;
    let (running, mut output) = fixture.start();
    read_until(&mut output, "running");
    // The first process ends alone; what it started is found by its cgroup.
    sys::process::kill(running.pid, 9).unwrap();
    assert_eq!(wait(&running), 137);
    runtime::clean(&fixture.spec).unwrap();
    // All writers are gone.
    assert_eq!(read_all(output).trim(), "");
    runtime::clean(&fixture.spec).unwrap();
    runtime::kill_all(&fixture.spec, 15).unwrap();
    assert_eq!(runtime::oom_kills(&fixture.spec), 0);
}

fn unified_hierarchy() {
    // In this mount namespace, which is this case's own, only cgroup v2 is left, as far as this host has it.
    unmount("/sys/fs/cgroup", UnmountFlags::DETACH).unwrap();
    rustix::mount::mount(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    let mut fixture = Fixture::shell(
        "cat /proc/self/cgroup | grep ^0; cat /sys/fs/cgroup/cgroup.procs | head -1; touch /sys/fs/cgroup/x; \
         mknod /tmp/kmsg c 1 11; cat /tmp/kmsg; head -c1 /dev/zero | wc -c; echo running; sleep 1000",
    );
    let (running, mut output) = fixture.start();
    let text = read_until(&mut output, "running");
    assert!(text.starts_with("0::/\n1\n"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(
        text.contains("'/tmp/kmsg': Operation not permitted") && text.ends_with("1\nrunning\n"),
        "{text}"
    );
    assert_eq!(
        fixture
            .exec(&running, "grep ^0 /proc/self/cgroup")
            .unwrap()
            .output,
        "0::/\n"
    );
    runtime::pause(&fixture.spec).unwrap();
    runtime::unpause(&fixture.spec).unwrap();
    assert_eq!(fixture.end(&running), 137);
    let has_pids = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .unwrap()
        .contains("pids");
    fixture.spec.resources.pids_limit = Some(9);
    fixture.script("true");
    match fixture.run() {
        Ok(outcome) => assert!(has_pids && outcome.code == 0),
        Err(error) => assert_eq!(
            error.message,
            "this host has no pids control group, so the limit on processes cannot be kept"
        ),
    }
    fixture.spec.resources.pids_limit = None;
    assert_eq!(fixture.run().unwrap().code, 0);
}

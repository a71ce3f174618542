//! Containers between two attempts, and limits that change while a container runs.

use testkit::until;

use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("p15_between_two_attempts", p15),
    ("p16_limits_of_a_running_container", p16),
    ("p17_limits_that_are_refused", p17),
];

fn p15(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %it --restart always busybox sh -c",
            &["exit 3"],
        )
        .ok();
    // The pauses become longer: now and then it can be seen waiting.
    until("it has been tried five times", || {
        let count = scene.inspect("it", "{{.RestartCount}}").parse::<u32>();
        (count.unwrap() >= 5).then_some(())
    });
    scene.until_inspect(
        "it",
        "{{.State.Status}} {{.State.Restarting}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}",
        "restarting true true 0 3",
    );
    let listed = scene
        .run_and(
            "ps --filter name=%it --filter status=restarting --format",
            &["{{.Status}}"],
        )
        .ok();
    assert!(listed.starts_with("Restarting (3) "), "{listed}");
    scene
        .run("exec %it true")
        .fails(1, "is restarting, wait until the container is running");
    scene
        .run("pause %it")
        .fails(1, "is restarting, wait until the container is running");
    scene.run("stop %it").ok();
    assert_eq!(
        scene.inspect("it", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 3"
    );
    // A start by hand begins anew, and ends by hand as well.
    scene.run("start %it").ok();
    until("it is tried again", || {
        let count = scene.inspect("it", "{{.RestartCount}}").parse::<u32>();
        (count.unwrap() >= 1).then_some(())
    });
    scene.run("rm -f %it").ok();
    // A failure that has its policy taken away stays.
    scene
        .run_and(
            "run -d --name %it --restart on-failure:1000 busybox sh -c",
            &["sleep 0.2; exit 4"],
        )
        .ok();
    scene.run("update --restart no %it").ok();
    scene.until_inspect("it", "{{.State.Status}}", "exited");
    scene.run("rm %it").ok();
}

/// A file of the container's own control groups; the first that is there.
fn limit(scene: &Scene, container: &str, files: &[&str]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| format!("/sys/fs/cgroup/{file}"))
        .collect();
    let script = format!("cat {} 2>/dev/null; true", files.join(" "));
    scene.sh(container, &script).ok()
}

fn p16(scene: &Scene) {
    scene
        .run("run -d --name %it -m 64m --memory-swap 128m --pids-limit 50 busybox sleep 1000")
        .ok();
    let memory = || limit(scene, "it", &["memory/memory.limit_in_bytes", "memory.max"]);
    let pids = || limit(scene, "it", &["pids/pids.max", "pids.max"]);
    let host = |format: &str| scene.inspect("it", &format!("{{{{.HostConfig.{format}}}}}"));
    scene.run("update -m 32m %it").ok();
    assert_eq!(memory(), "33554432");
    scene.run("update -m 256m --memory-swap 512m %it").ok();
    assert_eq!(memory(), "268435456");
    assert_eq!(host("Memory"), "268435456");
    scene.run("update --memory-swap -1 %it").ok();
    assert_eq!(host("MemorySwap"), "-1");
    scene.run("update --memory-reservation 16m %it").ok();
    assert_eq!(host("MemoryReservation"), "16777216");
    scene.run("update --cpus 0.5 %it").ok();
    let cpu = limit(scene, "it", &["cpu/cpu.cfs_quota_us", "cpu.max"]);
    assert_eq!(cpu.split(' ').next().unwrap(), "50000");
    scene.run("update --cpu-shares 512 %it").ok();
    let shares = limit(scene, "it", &["cpu/cpu.shares", "cpu.weight"]);
    assert!(["512", "20"].contains(&shares.as_str()), "{shares}");
    scene.run("update --cpuset-cpus 0 %it").ok();
    let cpus = limit(scene, "it", &["cpuset/cpuset.cpus", "cpuset.cpus"]);
    assert_eq!(cpus, "0");
    scene.run("update --pids-limit 20 %it").ok();
    assert_eq!(pids(), "20");
    // What holds, holds for what runs.
    let many = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; true";
    let output = scene.sh("it", many);
    assert!(
        output.stderr.contains("can't fork"),
        "more processes than the limit: {output}"
    );
    scene.run("update --pids-limit -1 %it").ok();
    assert_eq!(pids(), "max");
    // A frozen one, too; and all of it is there after a restart.
    scene.run("pause %it").ok();
    scene.run("update -m 48m --memory-swap 48m %it").ok();
    scene.run("unpause %it").ok();
    assert_eq!(memory(), "50331648");
    scene.run("restart -t 0 %it").ok();
    assert_eq!((memory(), pids()), ("50331648".into(), "max".into()));
    scene.run("kill %it").ok();
    scene.run("wait %it").ok();
    scene.run("update -m 96m --memory-swap 96m %it").ok();
    scene.run("start %it").ok();
    assert_eq!(memory(), "100663296");
    scene.run("rm -f %it").ok();
}

fn p17(scene: &Scene) {
    scene
        .run("run -d --name %it -m 64m --memory-swap 128m busybox sleep 1000")
        .ok();
    scene.run("update --cpus 0.5 %it").ok();
    let before = scene.inspect("it", "{{json .HostConfig}}");
    for (flags, text) in [
        (
            "-m 256m",
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        ("--memory-swap 16m", "memory"),
        ("-m 4m", "Minimum memory limit allowed is 6MB"),
        (
            "--memory-reservation 1m",
            "Minimum memory reservation allowed is 6MB",
        ),
        (
            "--cpu-period 50000",
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            "--cpu-quota 20000",
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        ("--cpus 1000", "Range of CPUs is from 0.01 to "),
        (
            "--cpuset-cpus 77",
            "Requested CPUs are not available - requested 77",
        ),
        (
            "--cpuset-cpus nonsense",
            "Invalid value nonsense for cpuset cpus",
        ),
        (
            "--restart sometimes",
            "invalid restart policy: unknown policy 'sometimes'",
        ),
        (
            "--restart always:3",
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
    ] {
        scene.run(&format!("update {flags} %it")).fails(1, text);
        assert_eq!(
            scene.inspect("it", "{{json .HostConfig}}"),
            before,
            "{flags}"
        );
    }
    scene
        .run("run -d --rm --name %gone --cpu-quota 20000 busybox sleep 1000")
        .ok();
    scene.run("update --cpus 1 %gone").fails(
        1,
        "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
    );
    scene.run("update --restart always %gone").fails(
        1,
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
    scene
        .run("update -m 64m %nobody")
        .fails(1, "No such container");
    scene.run("rm -f %it %gone").ok();
}

//! The life of a container's processes: start, stop, signals, restarts, pause, exec, top, wait, update.

use std::fs;

use testkit::until;

use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("p01_stop", p01),
    ("p02_kill", p02),
    ("p03_restart", p03),
    ("p04_restart_policies", p04),
    ("p05_pause", p05),
    ("p06_wait", p06),
    ("p07_exec", p07),
    ("p08_top", p08),
    ("p09_update", p09),
    ("p10_start_again", p10),
    ("p11_init_reaps", p11),
    ("p12_events", p12),
    ("p13_rm_of_several", p13),
    ("p14_events_of_all_kinds", p14),
];

/// Ends by itself on SIGTERM, with a code of its own, and says on which signal.
const OBEDIENT: &str = "trap 'echo got TERM; exit 9' TERM; trap 'echo got USR1; exit 10' USR1; echo ready; while :; do sleep 0.05; done";

fn p01(scene: &Scene) {
    scene
        .run_and("run -d --name %polite busybox sh -c", &[OBEDIENT])
        .ok();
    scene.until_logs("polite", "ready");
    assert_eq!(scene.run("stop %polite").ok(), scene.name("polite"));
    assert_eq!(
        scene.inspect("polite", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 9"
    );
    scene.until_logs("polite", "got TERM");
    // Stopping what has stopped is no mistake.
    scene.run("stop %polite").ok();
    scene
        .run_and(
            "run -d --name %other --stop-signal USR1 busybox sh -c",
            &[OBEDIENT],
        )
        .ok();
    scene.until_logs("other", "ready");
    scene.run("stop %other").ok();
    assert_eq!(scene.inspect("other", "{{.State.ExitCode}}"), "10");
    // The first process ignores what it has no handler for: killed after the time is over.
    for (flags, stop) in [("", "-t 1"), ("--stop-timeout 1", "")] {
        scene
            .run(&format!("run -d --name %deaf {flags} busybox sleep 1000"))
            .ok();
        let begun = std::time::Instant::now();
        scene.run(&format!("stop {stop} %deaf")).ok();
        assert!(begun.elapsed().as_secs() < 6);
        assert_eq!(
            scene.inspect("deaf", "{{.State.ExitCode}} {{.State.OOMKilled}}"),
            "137 false"
        );
        scene.run("rm %deaf").ok();
    }
    scene.run("stop %nobody").fails(1, "No such container");
    scene.run("rm %polite %other").ok();
}

fn p02(scene: &Scene) {
    scene
        .run_and("run -d --name %it busybox sh -c", &[OBEDIENT])
        .ok();
    scene.until_logs("it", "ready");
    scene.run("kill -s USR1 %it").ok();
    assert_eq!(scene.run("wait %it").ok(), "10");
    scene.run("kill %it").fails(1, "is not running");
    scene.run("start %it").ok();
    scene.run("kill %it").ok();
    assert_eq!(scene.run("wait %it").ok(), "137");
    scene.run("kill -s NONSENSE %it").fails(1, "");
    scene.run("rm %it").ok();
}

fn p03(scene: &Scene) {
    scene
        .run_and("run -d --name %it busybox sh -c", &[OBEDIENT])
        .ok();
    scene.until_logs("it", "ready");
    let before = scene.inspect("it", "{{.State.StartedAt}} {{.State.Pid}}");
    scene.run("restart %it").ok();
    let after = scene.inspect("it", "{{.State.StartedAt}} {{.State.Pid}}");
    assert_ne!(before, after);
    until("it started twice", || {
        (scene.run("logs %it").stdout.matches("ready").count() == 2).then_some(())
    });
    // Files in the container's own layer stay.
    scene.sh("it", "touch /kept").ok();
    scene.run("stop %it").ok();
    scene.run("restart %it").ok();
    scene.sh("it", "ls /kept").ok();
    scene.run("rm -f %it").ok();
}

fn p04(scene: &Scene) {
    let directory = scene.directory("count");
    let count = || {
        fs::read_to_string(directory.join("starts"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    let bind = format!("-v {}:/count", directory.display());
    scene
        .run_and(
            &format!("run -d --name %failing --restart on-failure:2 {bind} busybox sh -c"),
            &["echo x >> /count/starts; exit 3"],
        )
        .ok();
    until("it has given up", || {
        (scene.inspect("failing", "{{.State.Status}} {{.RestartCount}}") == "exited 2")
            .then_some(())
    });
    assert_eq!(count(), 3);
    assert_eq!(scene.inspect("failing", "{{.State.ExitCode}}"), "3");
    scene
        .run_and(
            "run --name %good --restart on-failure busybox sh -c",
            &["exit 0"],
        )
        .ok();
    assert_eq!(scene.inspect("good", "{{.RestartCount}}"), "0");
    fs::remove_file(directory.join("starts")).unwrap();
    for policy in ["always", "unless-stopped"] {
        scene
            .run_and(
                &format!("run -d --name %steady --restart {policy} {bind} busybox sh -c"),
                &["echo x >> /count/starts; exec sleep 1000"],
            )
            .ok();
        until("it runs", || (count() == 1).then_some(()));
        let pid: i32 = scene.inspect("steady", "{{.State.Pid}}").parse().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        until("it runs again", || (count() == 2).then_some(()));
        scene.until_inspect("steady", "{{.State.Running}}", "true");
        scene.run("stop -t 0 %steady").ok();
        assert_eq!(
            scene.inspect("steady", "{{.State.Status}}"),
            "exited",
            "{policy}: stopped by hand is stopped"
        );
        assert_eq!(count(), 2);
        scene.run("rm %steady").ok();
        fs::remove_file(directory.join("starts")).unwrap();
    }
    scene.run("rm %failing %good").ok();
}

fn p05(scene: &Scene) {
    let directory = scene.directory("count");
    scene
        .run_and(
            &format!(
                "run -d --name %it -v {}:/c busybox sh -c",
                directory.display()
            ),
            &["i=0; while :; do i=$((i+1)); echo $i > /c/part; mv /c/part /c/n; done"],
        )
        .ok();
    let count = || fs::read_to_string(directory.join("n")).unwrap_or_default();
    until("it counts", || (!count().is_empty()).then_some(()));
    scene.run("pause %it").ok();
    assert_eq!(
        scene.inspect(
            "it",
            "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"
        ),
        "paused true true"
    );
    let before = count();
    scene.run("exec %it true").fails(1, "is paused");
    assert!(scene.run("ps --filter name=%it").ok().contains("(Paused)"));
    scene.run("pause %it").fails(1, "already paused");
    assert_eq!(before, count(), "frozen");
    scene.run("unpause %it").ok();
    until("it counts on", || (count() != before).then_some(()));
    scene.run("unpause %it").fails(1, "is not paused");
    scene.run("pause %it").ok();
    // A paused container can be stopped and removed.
    scene.run("stop -t 1 %it").ok();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "exited");
    scene.run("start %it").ok();
    scene.run("pause %it").ok();
    scene.run("rm -f %it").ok();
}

fn p06(scene: &Scene) {
    scene
        .run_and("run -d --name %three busybox sh -c", &["exit 3"])
        .ok();
    scene
        .run_and("run -d --name %later busybox sh -c", &[OBEDIENT])
        .ok();
    assert_eq!(scene.run("wait %three").ok(), "3");
    let waiting = scene.start("wait %later %three");
    scene.until_logs("later", "ready");
    scene.run("stop %later").ok();
    let waited = waiting.finish();
    let mut codes: Vec<&str> = waited.stdout.lines().collect();
    codes.sort_unstable();
    assert_eq!(codes, ["3", "9"], "{waited}");
    scene.run("wait %nobody").fails(1, "No such container");
    scene.run("rm %three %later").ok();
}

fn p07(scene: &Scene) {
    scene
        .run("run -d --name %it -e FROM=container -w /tmp busybox sleep 1000")
        .ok();
    assert_eq!(
        scene.sh("it", "echo $FROM; pwd; id -u; exit 0").ok(),
        "container\n/tmp\n0"
    );
    scene.sh("it", "exit 5").fails(5, "");
    let missing = scene.run("exec %it nosuchprogram");
    // Docker itself has used both.
    missing.fails(
        if missing.code == 126 { 126 } else { 127 },
        "executable file not found in $PATH",
    );
    scene
        .run("exec %it /etc/passwd")
        .fails(126, "permission denied");
    let seen = scene
        .run_and(
            "exec -e ADDED=1 -w /etc -u www-data %it sh -c",
            &["echo $ADDED; pwd; id -un"],
        )
        .ok();
    assert_eq!(seen, "1\n/etc\nwww-data");
    assert_eq!(
        scene.run_with("exec -i %it cat", b"through stdin").ok(),
        "through stdin"
    );
    let both = scene.sh("it", "echo out; echo err >&2");
    assert_eq!(
        (both.stdout.as_str(), both.stderr.as_str()),
        ("out\n", "err\n")
    );
    scene.run("exec -d %it touch /tmp/detached").ok();
    until("the detached one has run", || {
        (scene.sh("it", "ls /tmp/detached").code == 0).then_some(())
    });
    let mut terminal = scene.terminal("exec -it %it sh");
    terminal.expect("/tmp # ");
    terminal.send("tty; exit 6\r");
    let (code, screen) = terminal.finish();
    assert!(
        code == 6 && screen.contains("/dev/pts/"),
        "{code}: {screen}"
    );
    let big = scene.sh("it", "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done");
    assert_eq!(big.stdout.len(), 20_000 * 41);
    scene.run("exec --privileged %it true").ok();
    scene.run("stop -t 0 %it").ok();
    scene.run("exec %it true").fails(1, "is not running");
    scene.run("exec %nobody true").fails(1, "No such container");
    scene.run("rm %it").ok();
}

fn p08(scene: &Scene) {
    scene.run("run -d --name %it busybox sleep 1234").ok();
    let seen = scene.run("top %it").ok();
    assert!(
        seen.lines().next().unwrap().contains("PID") && seen.contains("sleep 1234"),
        "{seen}"
    );
    let pid = scene.inspect("it", "{{.State.Pid}}");
    let seen = scene.run("top %it -o pid,comm").ok();
    assert!(
        seen.lines().nth(1).unwrap().trim().starts_with(&pid),
        "{seen}"
    );
    scene.run("stop -t 0 %it").ok();
    scene.run("top %it").fails(1, "is not running");
    scene.run("rm %it").ok();
}

fn p09(scene: &Scene) {
    scene
        .run("run -d --name %it -m 64m --memory-swap 64m busybox sleep 1000")
        .ok();
    assert!(
        scene
            .run("update -m 32m --memory-swap 32m --restart on-failure:5 --cpus 0.5 %it")
            .ok()
            .contains(&scene.name("it"))
    );
    assert_eq!(
        scene.inspect("it", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.NanoCpus}}"),
        "33554432 on-failure 5 500000000"
    );
    let limit = scene
        .sh(
            "it",
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
        )
        .stdout;
    assert_eq!(limit.trim(), "33554432");
    scene
        .run("update -m 1m %it")
        .fails(1, "Minimum memory limit allowed is 6MB");
    scene.run("update %it").fails(1, "");
    scene.run("rm -f %it").ok();
}

fn p10(scene: &Scene) {
    scene
        .run_and(
            "run --name %it -v /data busybox sh -c",
            &["echo run >> /data/runs; echo run >> /runs; cat /data/runs /runs"],
        )
        .ok();
    let second = scene.run("start -a %it").ok();
    assert_eq!(second.lines().count(), 4, "{second}");
    scene
        .run_and("create -i --name %cat busybox sh -c", &["cat; exit 4"])
        .ok();
    let answered = scene.run_with("start -a -i %cat", b"typed");
    assert_eq!(
        (answered.code, answered.stdout.as_str()),
        (4, "typed"),
        "{answered}"
    );
    assert_eq!(scene.run("start %it %cat").ok().lines().count(), 2);
    scene.run("start %it %nobody").fails(1, "No such container");
    scene.run("rm -fv %it %cat").ok();
}

fn p11(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %it --init busybox sh -c",
            &["(sh -c 'sleep 0.1 & exec true' &) ; echo started; exec sleep 1000"],
        )
        .ok();
    scene.until_logs("it", "started");
    until("no zombie is left", || {
        let seen = scene.sh("it", "ps -o pid,stat,comm").ok();
        (seen.contains("sleep") && !seen.lines().any(|line| line.contains(" Z"))).then_some(())
    });
    // The first process is an init, which passes signals on.
    let first = scene.sh("it", "cat /proc/1/comm").ok();
    assert!(!first.contains("sleep"), "{first}");
    let begun = std::time::Instant::now();
    scene.run("stop -t 30 %it").ok();
    assert!(begun.elapsed().as_secs() < 10);
    assert_eq!(scene.inspect("it", "{{.State.ExitCode}}"), "143");
    scene.run("rm %it").ok();
}

fn p12(scene: &Scene) {
    let since = seconds();
    scene
        .run("run --name %it --label colour=blue busybox true")
        .ok();
    scene.run("rm %it").ok();
    let until_now = seconds() + 1;
    let heard = scene
        .run(&format!(
            "events --since {since} --until {until_now} --filter container=%it"
        ))
        .ok();
    for action in ["create", "attach", "start", "die", "destroy"] {
        assert!(
            heard.contains(&format!("container {action} ")),
            "{action} in\n{heard}"
        );
    }
    assert!(
        heard.contains("exitCode=0")
            && heard.contains("colour=blue")
            && heard.contains("image=busybox"),
        "{heard}"
    );
    let one = scene
        .run_and(&format!("events --since {since} --until {until_now} --filter container=%it --filter event=die --format"), &["{{.Action}} {{.Type}}"])
        .ok();
    assert_eq!(one, "die container");
    assert!(heard.contains("execDuration=0"), "{heard}");
}

/// Every kind of object tells; filters of all kinds; what lies after `until` is not told.
fn p14(scene: &Scene) {
    let since = seconds();
    scene.run("volume create %v").ok();
    scene
        .run("run -d --name %it -l tier=%x -v %v:/v busybox sleep 1000")
        .ok();
    scene.run("top %it").ok();
    scene.run("pause %it").ok();
    scene.run("unpause %it").ok();
    scene.run("rename %it %other").ok();
    scene
        .run("update --memory 64m --memory-swap 128m %other")
        .ok();
    scene.run("exec %other true").ok();
    scene.run("kill %other").ok();
    scene.run("wait %other").ok();
    scene.run("rm %other").ok();
    scene.run("volume rm %v").ok();
    scene.run("tag busybox %copy:1").ok();
    scene.run("rmi %copy:1").ok();
    let until_now = seconds() + 1;
    let heard = |filters: &str, format: &str| {
        scene
            .run_and(
                &format!("events --since {since} --until {until_now} {filters} --format"),
                &[format],
            )
            .ok()
    };
    // What is told comes in the order in which it happened.
    let of_container = heard(
        &format!("--filter label=tier={}", scene.name("x")),
        "{{.Action}}",
    );
    let mut rest = of_container.lines();
    for action in [
        "create",
        "start",
        "top",
        "pause",
        "unpause",
        "rename",
        "update",
        "exec_create: true ",
        "exec_start: true ",
        "exec_die",
        "kill",
        "die",
        "destroy",
    ] {
        assert!(
            rest.any(|line| line.trim_end() == action.trim_end()),
            "{action} in\n{of_container}"
        );
    }
    let volume = format!("--filter volume={}", scene.name("v"));
    assert_eq!(
        heard(&volume, "{{.Type}} {{.Action}}"),
        "volume create\nvolume mount\nvolume unmount\nvolume destroy"
    );
    assert_eq!(
        heard(
            &format!("{volume} --filter event=mount --filter event=create"),
            "{{.Action}}"
        ),
        "create\nmount"
    );
    let image = format!("--filter image={}", scene.name("copy"));
    assert_eq!(heard(&image, "{{.Action}}"), "tag\nuntag");
    assert_eq!(heard("--filter type=daemon", "{{.Action}}"), "");
    assert_eq!(heard("--filter scope=swarm", "{{.Action}}"), "");
    let json = heard(&format!("{volume} --filter event=mount"), "{{json .}}");
    for part in [
        r#""read/write":"true""#,
        r#""destination":"/v""#,
        r#""driver":"local""#,
        r#""scope":"local""#,
        r#""timeNano":"#,
    ] {
        assert!(json.contains(part), "{json}");
    }
    scene
        .run("events --since 10 --until 5")
        .fails(1, "`since` time (10");
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn p13(scene: &Scene) {
    for name in ["a", "b", "c"] {
        scene
            .run(&format!("create --name %{name} busybox true"))
            .ok();
    }
    let removed = scene.run("rm %a %nobody %b");
    removed.fails(1, "No such container");
    assert_eq!(
        removed.stdout,
        format!("{}\n{}\n", scene.name("a"), scene.name("b"))
    );
    scene.run("rm -f %nobody").ok();
    scene.run("rm %c").ok();
}

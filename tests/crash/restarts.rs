//! Restart policies and health checks across a reboot, and while no engine runs.

use std::fs;

use testkit::until;

use super::Scene;
use super::alone::{Test, kill, lives, pid_of};

pub(super) const TESTS: &[Test] = &[
    ("restart_policies_after_a_reboot", after_a_reboot),
    ("a_delay_that_no_engine_sees", delay_while_away),
    ("health_while_the_engine_is_away", health_while_away),
    ("health_of_a_frozen_container", frozen_health),
];

/// Everything that ran is dead, and what was in memory is gone; then an engine starts.
fn reboot(scene: &mut Scene, running: &[&str]) {
    let shims: Vec<i32> = running
        .iter()
        .map(|name| scene.engine.shim_of(&scene.inspect(name, "{{.Id}}")))
        .collect();
    scene.engine.kill();
    for shim in shims {
        kill(shim);
        until("the shim is dead", || (!lives(shim)).then_some(()));
    }
    fs::remove_dir_all(std::path::Path::new("/run/orlop").join(scene.engine.tag())).unwrap();
    scene.engine.resume();
}

fn after_a_reboot(scene: &mut Scene) {
    // Name, policy, what it does, and whether it runs afterwards.
    let containers = [
        ("failing", "on-failure", "exec sleep 1000", true),
        ("limited", "on-failure:2", "exec sleep 1000", true),
        ("unless", "unless-stopped", "exec sleep 1000", true),
        ("always", "always", "exec sleep 1000", true),
        ("never", "no", "exec sleep 1000", false),
        // Stopped by hand before; `always` does not mind.
        ("stopped", "unless-stopped", "exec sleep 1000", false),
        ("stopped-failing", "on-failure", "exec sleep 1000", false),
        ("stopped-always", "always", "exec sleep 1000", true),
        // Ended well before.
        ("done", "on-failure", "exit 0", false),
    ];
    for (name, policy, script, _) in containers {
        let line = format!("run -d --name {name} --restart {policy} -v data:/data busybox sh -c");
        let script = format!("echo x >> /data/{name}; {script}");
        scene.run_and(&line, &[&script]).ok();
    }
    let data = scene.engine.root.join("volumes/data/_data");
    let starts = |name: &str| {
        fs::read_to_string(data.join(name))
            .unwrap_or_default()
            .lines()
            .count()
    };
    for (name, ..) in containers {
        until("it has run", || (starts(name) == 1).then_some(()));
    }
    scene
        .run("stop -t 0 stopped stopped-failing stopped-always")
        .ok();
    scene.until_inspect("done", "{{.State.Status}}", "exited");
    reboot(scene, &["failing", "limited", "unless", "always", "never"]);
    for (name, _, _, again) in containers {
        let status = if again { "running" } else { "exited" };
        scene.until_inspect(name, "{{.State.Status}}", status);
        if again {
            until("it was started again", || (starts(name) == 2).then_some(()));
        }
    }
    // One start each, and of the others none.
    for (name, _, _, again) in containers {
        assert_eq!(starts(name), if again { 2 } else { 1 }, "{name}");
    }
    assert_eq!(scene.inspect("never", "{{.State.ExitCode}}"), "137");
    // A second one finds the same.
    scene.run("stop -t 0 unless").ok();
    reboot(scene, &["failing", "limited", "always", "stopped-always"]);
    scene.until_inspect("always", "{{.State.Status}}", "running");
    scene.until_inspect("failing", "{{.State.Status}}", "running");
    assert_eq!(scene.inspect("unless", "{{.State.Status}}"), "exited");
    for (name, ..) in containers {
        scene.run(&format!("rm -f {name}")).ok();
    }
}

/// Between two attempts nothing runs; an engine that comes then finds the container waiting, and can end the waiting.
fn delay_while_away(scene: &mut Scene) {
    scene
        .run_and(
            "run -d --name it --restart always -v data:/data busybox sh -c",
            &["cut -d ' ' -f 1 /proc/uptime >> /data/starts; exit 7"],
        )
        .ok();
    scene.engine.kill();
    let starts = scene.engine.root.join("volumes/data/_data/starts");
    let times = || -> Vec<f64> {
        let text = fs::read_to_string(&starts).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let times = until("it was tried six times without an engine", || {
        Some(times()).filter(|times| times.len() >= 6)
    });
    // At least 100 ms, twice as long each time; the clock has hundredths.
    for (number, pair) in times.windows(2).enumerate() {
        let least = 0.1 * f64::from(1 << number);
        assert!(
            pair[1] - pair[0] > least - 0.02,
            "attempt {number} came {} s after the one before: {times:?}",
            pair[1] - pair[0]
        );
    }
    scene.engine.resume();
    scene.until_inspect(
        "it",
        "{{.State.Status}} {{.State.ExitCode}}",
        "restarting 7",
    );
    let count: usize = scene.inspect("it", "{{.RestartCount}}").parse().unwrap();
    assert!(count >= 5, "{count}");
    scene.run("stop it").ok();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "exited");
    scene.run("rm it").ok();
}

const CHECKED: &str =
    "run -d --name it -v data:/data --health-interval 100ms --health-retries 2 --health-cmd";

fn health_while_away(scene: &mut Scene) {
    let check = ["test -e /data/well", "busybox", "sleep", "1000"];
    scene.run_and(CHECKED, &check).ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "unhealthy");
    let well = scene.engine.root.join("volumes/data/_data/well");
    // It goes on without an engine, in both directions.
    for (status, streak) in [("healthy", true), ("unhealthy", false)] {
        let last = scene.inspect("it", "{{json .State.Health.Log}}");
        scene.engine.kill();
        if streak {
            fs::write(&well, "").unwrap();
        } else {
            fs::remove_file(&well).unwrap();
        }
        scene.engine.resume();
        scene.until_inspect("it", "{{.State.Health.Status}}", status);
        let seen = scene.inspect("it", "{{.State.Health.FailingStreak}}");
        assert_eq!(seen == "0", streak, "{status} {seen}");
        // The log of probes is the shim's: none of the time before is made up.
        assert_ne!(scene.inspect("it", "{{json .State.Health.Log}}"), last);
        let listed = scene.run(&format!("ps -q --filter health={status}")).ok();
        assert_eq!(listed.lines().count(), 1, "{status}");
    }
    fs::write(&well, "").unwrap();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    // What has ended is not well, and a reboot finds it ended.
    reboot(scene, &["it"]);
    scene.until_inspect(
        "it",
        "{{.State.Status}} {{.State.Health.Status}}",
        "exited unhealthy",
    );
    scene.run("start it").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("rm -f it").ok();
}

fn frozen_health(scene: &mut Scene) {
    scene
        .run_and(CHECKED, &["true", "busybox", "sleep", "1000"])
        .ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("pause it").ok();
    let health = |scene: &Scene| scene.inspect("it", "{{.State.Health.Status}}");
    assert_eq!(health(scene), "unhealthy");
    scene.engine.kill();
    scene.engine.resume();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "paused");
    assert_eq!(health(scene), "unhealthy");
    let pid = pid_of(scene, "it");
    scene.run("unpause it").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    assert_eq!(pid_of(scene, "it"), pid);
    // The moment of a snapshot is not felt.
    scene
        .run("volume snapshot create --consistency freeze data")
        .ok();
    assert_eq!(health(scene), "healthy");
    scene.run("rm -f it").ok();
}

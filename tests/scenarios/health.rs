//! Health checks: what flags and images ask for, what probes find, and who is told of it.

use testkit::until;

use super::processes::seconds;
use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("h01_health_follows_the_probes", h01),
    ("h02_probe_that_takes_too_long", h02),
    ("h03_image_and_flags_are_merged", h03),
    ("h04_start_period_and_restart", h04),
    ("h05_frozen_and_stopped", h05),
    ("h06_probe_that_cannot_start", h06),
];

/// Probes often enough for a test.
const OFTEN: &str = "--health-interval 100ms --health-timeout 10s --health-retries 2";

fn status(scene: &Scene, container: &str) -> String {
    scene.inspect(container, "{{.State.Health.Status}}")
}

fn h01(scene: &Scene) {
    scene
        .run_and(
            &format!("run -d --name %it {OFTEN} --health-cmd"),
            &[
                "cat /state; test \"$(cat /state)\" = well",
                "busybox",
                "sleep",
                "1000",
            ],
        )
        .ok();
    assert_eq!(status(scene, "it"), "starting");
    let ps = |filter: &str| {
        scene
            .run_and(
                &format!("ps -a --filter name={} --filter", scene.name("it")),
                &[filter, "--format", "{{.Status}}"],
            )
            .ok()
    };
    scene.until_inspect("it", "{{.State.Health.Status}}", "unhealthy");
    assert!(ps("health=unhealthy").ends_with("(unhealthy)"));
    assert_eq!(ps("health=healthy"), "");
    scene.sh("it", "echo well > /state").ok();
    scene.until_inspect(
        "it",
        "{{.State.Health.Status}} {{.State.Health.FailingStreak}}",
        "healthy 0",
    );
    assert!(ps("health=healthy").ends_with("(healthy)"));
    // Five probes are kept; each tells when it ran, its code, and what it said.
    until("five good probes", || {
        (scene.inspect(
            "it",
            "{{len .State.Health.Log}}{{range .State.Health.Log}} {{.ExitCode}}{{end}}",
        ) == "5 0 0 0 0 0")
            .then_some(())
    });
    let log = scene.inspect("it", "{{json .State.Health.Log}}");
    assert!(log.contains(r#""Output":"well\n""#), "{log}");
    scene.sh("it", "echo ill > /state").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "unhealthy");

    let events = |filter: &str| {
        scene
            .run_and(
                &format!(
                    "events --since 0 --until {} --filter container={} --filter",
                    seconds() + 1,
                    scene.name("it")
                ),
                &[filter, "--format", "{{.Action}}"],
            )
            .ok()
    };
    assert_eq!(
        events("event=health_status")
            .lines()
            .take(3)
            .collect::<Vec<_>>(),
        [
            "health_status: unhealthy",
            "health_status: healthy",
            "health_status: unhealthy"
        ]
    );
    let probes = events("event=exec_create");
    assert!(
        probes.starts_with("exec_create: /bin/sh -c cat /state"),
        "{probes}"
    );
    assert!(events("event=exec_start").starts_with("exec_start: /bin/sh -c cat /state"));
    assert!(events("event=exec_die").starts_with("exec_die"));
    scene
        .run("ps --filter health=perhaps")
        .fails(1, "Unrecognised filter value for health: perhaps");
    scene.run("rm -f %it").ok();
}

fn h02(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %it --health-interval 50ms --health-timeout 200ms --health-retries 1 --health-cmd",
            &["echo waits; sleep 1000", "busybox", "sleep", "2000"],
        )
        .ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "unhealthy");
    let first = scene.inspect(
        "it",
        "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}",
    );
    assert!(
        first.starts_with("-1 Health check exceeded timeout (200ms): waits"),
        "{first}"
    );
    // What the probe had started is gone with it: one may be under way, none piles up.
    until("three probes", || {
        (scene.inspect("it", "{{len .State.Health.Log}}").as_str() >= "3").then_some(())
    });
    let sleeping = scene
        .run("top %it")
        .ok()
        .lines()
        .filter(|line| line.contains("sleep 1000"))
        .count();
    // The shell and what it runs.
    assert!(sleeping <= 2, "{sleeping}");
    scene.run("rm -f %it").ok();
}

fn h03(scene: &Scene) {
    scene
        .run("create --name %base --health-cmd true --health-interval 7s --health-retries 9 busybox sleep 1000")
        .ok();
    scene.run("commit %base %checked").ok();
    let check = |container: &str| scene.inspect(container, "{{json .Config.Healthcheck}}");
    scene.run("create --name %same %checked sleep 1000").ok();
    let same = check("same");
    for part in [
        r#""Test":["CMD-SHELL","true"]"#,
        r#""Interval":7000000000"#,
        r#""Retries":9"#,
    ] {
        assert!(same.contains(part), "{same}");
    }
    scene
        .run("create --name %changed --health-interval 3s %checked sleep 1000")
        .ok();
    let changed = check("changed");
    for part in [
        r#""Test":["CMD-SHELL","true"]"#,
        r#""Interval":3000000000"#,
        r#""Retries":9"#,
    ] {
        assert!(changed.contains(part), "{changed}");
    }
    scene
        .run("run -d --name %none --no-healthcheck %checked sleep 1000")
        .ok();
    assert!(check("none").contains(r#"["NONE"]"#));
    assert_eq!(
        scene.inspect("none", "{{if .State.Health}}some{{else}}none{{end}}"),
        "none"
    );
    scene
        .run("create --name %wrong --health-interval 10us --health-cmd true busybox true")
        .fails(1, "Interval in Healthcheck cannot be less than 1ms");
    scene
        .run("create --name %wrong --health-cmd true --no-healthcheck busybox true")
        .fails(125, "--no-healthcheck conflicts with --health-* options");
    scene.run("rm -f %base %same %changed %none").ok();
    scene.run("rmi %checked").ok();
}

fn h04(scene: &Scene) {
    if scene.api() < 44 {
        println!("h04: this client has no --health-start-interval; only the start period is tried");
    }
    let start_interval = if scene.api() < 44 {
        ""
    } else {
        "--health-start-interval 50ms"
    };
    let interval = if scene.api() < 44 { "50ms" } else { "1h" };
    scene
        .run_and(
            &format!("run -d --name %it --health-start-period 1h {start_interval} --health-interval {interval} --health-retries 1 --health-cmd"),
            &["test -e /ready", "busybox", "sleep", "1000"],
        )
        .ok();
    // Failures do not count before the first success.
    until("two probes failed", || {
        (scene.inspect("it", "{{len .State.Health.Log}}").as_str() >= "2").then_some(())
    });
    assert_eq!(
        scene.inspect(
            "it",
            "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"
        ),
        "starting 0"
    );
    scene.sh("it", "touch /ready").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("restart -t 0 %it").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("rm -f %it").ok();
}

fn h05(scene: &Scene) {
    scene
        .run(&format!(
            "run -d --name %it {OFTEN} --health-cmd true busybox sleep 1000"
        ))
        .ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("pause %it").ok();
    let last = || scene.inspect("it", "{{(index .State.Health.Log 0).Start}}");
    let frozen = last();
    assert_eq!(status(scene, "it"), "unhealthy");
    let by_health = format!(
        "ps -q --filter health=unhealthy --filter name={}",
        scene.name("it")
    );
    assert_eq!(scene.run(&by_health).ok().lines().count(), 1);
    // Longer than several intervals: a frozen container is not probed, and does not time out.
    scene.run("run --rm busybox sleep 1").ok();
    assert_eq!(last(), frozen);
    scene.run("unpause %it").ok();
    until("probes go on", || (last() != frozen).then_some(()));
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    let told = scene
        .run_and(
            &format!(
                "events --since 0 --until {} --filter container={} --filter event=health_status --format",
                seconds() + 1,
                scene.name("it")
            ),
            &["{{.Action}}"],
        )
        .ok();
    // Freezing tells nothing of health; being well again does.
    assert_eq!(told, "health_status: healthy\nhealth_status: healthy");
    scene.run("stop -t 0 %it").ok();
    assert_eq!(status(scene, "it"), "unhealthy");
    let shown = scene
        .run(&format!(
            "ps -a --filter name={} --format {{{{.Status}}}}",
            scene.name("it")
        ))
        .ok();
    assert!(shown.starts_with("Exited"), "{shown}");
    scene.run("start %it").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("rm -f %it").ok();
}

fn h06(scene: &Scene) {
    scene.run("create --name %base busybox true").ok();
    scene
        .run_and(
            "commit --change",
            &[
                "HEALTHCHECK --interval=50ms --retries=1 CMD [\"/no/such\"]",
                &scene.name("base"),
                &scene.name("odd"),
            ],
        )
        .ok();
    scene.run("run -d --name %it %odd sleep 1000").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "unhealthy");
    let first = scene.inspect(
        "it",
        "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}",
    );
    assert!(first.starts_with("-1 OCI runtime exec failed"), "{first}");
    assert!(first.contains("/no/such"), "{first}");
    scene.run("rm -f %it %base").ok();
    scene.run("rmi %odd").ok();
}

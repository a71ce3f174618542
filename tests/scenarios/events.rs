//! Events: which kinds there are, who hears of them by which filter, and in which span of time.

use super::processes::seconds;
use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("p18_every_kind_and_every_filter", p18),
    ("p19_spans_of_time", p19),
];

/// What is told of a span of time that is over.
fn heard(scene: &Scene, since: u64, filters: &str, format: &str) -> Vec<String> {
    let line = format!(
        "events --since {since} --until {} {filters} --format",
        seconds() + 1
    );
    let told = scene.run_and(&line, &[format]).ok();
    told.lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[expect(clippy::too_many_lines, reason = "one life, told by many filters")]
fn p18(scene: &Scene) {
    let since = seconds();
    scene.run("network create --label of=%net %net").ok();
    scene.run("volume create --label of=%vol %vol").ok();
    scene.run("tag busybox %image:one").ok();
    scene
        .run("create --name %it --label tier=%x --label colour=blue -v %vol:/data -i -t --health-cmd true --health-interval 100ms %image:one sleep 1000")
        .ok();
    scene.run("start %it").ok();
    scene.until_inspect("it", "{{.State.Health.Status}}", "healthy");
    scene.run("network connect %net %it").ok();
    scene.run("network disconnect %net %it").ok();
    scene.run("exec %it true").ok();
    scene.run_with("cp - %it:/root", &[0; 1024]).ok();
    scene.run("top %it").ok();
    scene.run("commit %it %image:two").ok();
    scene.run("pause %it").ok();
    scene.run("unpause %it").ok();
    scene.run("update --cpu-shares 512 %it").ok();
    scene.run("rename %it %new").ok();
    scene.run("restart -t 0 %new").ok();
    scene.run("kill -s CONT %new").ok();
    scene.run("stop -t 0 %new").ok();
    scene.run("rm %new").ok();
    scene.run("rmi %image:one %image:two").ok();
    scene.run("volume rm %vol").ok();
    scene.run("network rm %net").ok();

    let of = |filters: &str| heard(scene, since, filters, "{{.Type}} {{.Action}}");
    let container = of(&format!("--filter label=tier={}", scene.name("x")));
    let mut rest = container.iter();
    for action in [
        "create",
        "start",
        "exec_create: /bin/sh -c true",
        "exec_start: /bin/sh -c true",
        "exec_die",
        "health_status: healthy",
    ] {
        let wanted = format!("container {action}");
        assert!(container.contains(&wanted), "{wanted} in\n{container:#?}");
    }
    // Each once, in this order, whatever a probe tells between them.
    for action in [
        "create",
        "start",
        "exec_create: true",
        "exec_start: true",
        "extract-to-dir",
        "top",
        "pause",
        "unpause",
        "commit",
        "pause",
        "unpause",
        "update",
        "rename",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
        "kill",
        "kill",
        "die",
        "stop",
        "destroy",
    ] {
        let wanted = format!("container {action}");
        assert!(
            rest.any(|line| *line == wanted),
            "{wanted} in\n{container:#?}"
        );
    }
    // Whoever dies of a signal may be heard of before it.
    let kills = container.iter().filter(|line| *line == "container kill");
    assert_eq!(kills.count(), 5, "{container:#?}");
    let name = |name: &str| scene.name(name);
    for (filters, wanted) in [
        (
            format!("--filter volume={}", name("vol")),
            "volume create, volume mount, volume unmount, volume mount, volume unmount, volume destroy",
        ),
        (
            format!("--filter network={}", name("net")),
            "network create, network connect, network disconnect, network destroy",
        ),
        (
            format!("--filter type=image --filter image={}", name("image")),
            "image tag, image create, image untag, image untag",
        ),
        (
            format!("--filter event=rename --filter container={}", name("new")),
            "container rename",
        ),
        (
            format!(
                "--filter event=pause --filter event=unpause --filter container={}",
                name("it")
            ),
            "container pause, container unpause, container pause, container unpause",
        ),
        (
            format!(
                "--filter label=tier={} --filter label=colour=blue --filter event=destroy",
                name("x")
            ),
            "container destroy",
        ),
        (
            format!(
                "--filter label=tier={} --filter label=colour=red",
                name("x")
            ),
            "",
        ),
        (
            format!(
                "--filter label=tier={} --filter type=volume --filter type=network",
                name("x")
            ),
            "",
        ),
        (
            format!(
                "--filter scope=local --filter label=tier={} --filter event=top",
                name("x")
            ),
            "container top",
        ),
        (
            format!("--filter scope=swarm --filter volume={}", name("vol")),
            "",
        ),
        (
            format!("--filter volume={} --filter type=container", name("vol")),
            "",
        ),
        ("--filter daemon=nosuch".to_owned(), ""),
        (
            "--filter type=plugin --filter type=node --filter type=secret".to_owned(),
            "",
        ),
    ] {
        assert_eq!(of(&filters).join(", "), wanted, "{filters}");
    }
    // Who did it is told beside.
    let told = heard(
        scene,
        since,
        &format!("--filter network={} --filter event=connect", name("net")),
        "{{json .}}",
    );
    for part in [
        r#""container":""#,
        r#""type":"bridge""#,
        r#""scope":"local""#,
    ] {
        assert!(told[0].contains(part), "{part} in {told:?}");
    }
    let renamed = format!("--filter event=rename --filter container={}", name("new"));
    let told = heard(scene, since, &renamed, "{{.Actor.Attributes.oldName}}");
    assert_eq!(told, [format!("/{}", name("it"))]);
}

fn p19(scene: &Scene) {
    let filter = format!(
        "--filter volume={} --format {{{{.Action}}}}",
        scene.name("v")
    );
    // Words for times: seconds, with fractions, ages, and RFC 3339.
    scene.run("volume create %v").ok();
    let now = seconds() + 1;
    for since in [
        "10m",
        "0",
        "2006-01-02T15:04:05Z",
        "2006-01-02",
        "1.5",
        "1h30m",
    ] {
        let told = scene
            .run(&format!("events --since {since} --until {now} {filter}"))
            .ok();
        assert_eq!(told, "create", "{since}");
    }
    // Nothing is told of before it began, or after it was over.
    let told = scene
        .run(&format!("events --since 0 --until 1 {filter}"))
        .ok();
    assert_eq!(told, "");
    let told = scene
        .run(&format!("events --since {now}.9 --until {now}.95 {filter}"))
        .ok();
    assert_eq!(told, "");
    // An end in the future is waited for, and what happens until then is told.
    let until = seconds() + 4;
    let listening = scene.start(&format!("events --until {until} {filter}"));
    let waiting = scene.start(&format!("events --since {now} --until {until} {filter}"));
    scene.run("volume rm %v").ok();
    // Only the second is certain to have listened in time: it asks for the past.
    let told = waiting.finish();
    assert_eq!(told.ok().lines().last(), Some("destroy"));
    assert!(seconds() >= until, "it ended early");
    listening.finish().ok();
    scene
        .run(&format!("events --since {now} --until 1 {filter}"))
        .fails(1, "cannot be after `until` time");
    scene.run("events --since nonsense").fails(1, "");
}

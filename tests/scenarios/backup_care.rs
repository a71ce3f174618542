//! Backups that meet: two of one volume at once, and what a volume is after a restore over it; and how far they are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::backups::Repository;
use super::{Scenario, Scene};

pub(crate) const OWN: &[Scenario] = &[
    ("S87_two_backups_of_one_volume", in_turn),
    ("S88_labels_after_a_restore", labels),
    ("S93_how_far_it_is", how_far),
];

/// One waits for the other, and may leave.
fn in_turn(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene
        .run("run -d --name %user -v %data:/d busybox sleep 1000")
        .ok();
    let data = scene.data("data");
    let hook = data.join("hold");
    fs::write(
        &hook,
        "#!/bin/sh\ntouch /d/begun\nuntil [ -e /d/go ]; do sleep 0.1; done\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let first = scene.start("volume backup %data --to %home --pre /d/hold --hook-timeout 10m");
    testkit::until("the first backup has begun", || {
        data.join("begun").exists().then_some(())
    });
    let line = "volume backup %data --to %home --consistent none --progress json";
    let (second, third) = (scene.start(line), scene.start(line));
    for waiting in [&second, &third] {
        waiting.expect("Waiting for another backup");
    }
    // Whoever waits may leave, and leaves no gap.
    third.signal(Signal::INT);
    assert_ne!(third.finish().code, 0);
    assert_eq!(scene.run("backup ls -q %home").ok(), "");
    fs::write(data.join("go"), "").unwrap();
    first.finish().ok();
    second.finish().ok();
    assert_eq!(scene.run("backup ls -q %home").ok().lines().count(), 2);
    assert_eq!(scene.run("volume snapshot ls -q %data").ok(), "");
    scene.run("rm -f %user").ok();
    scene.run("volume rm --now %data").ok();
    scene.run("backup rm-repo %home").ok();
}

/// The content is that of the backup; what the volume is called, labelled and allowed is as it is now.
fn labels(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene
        .run("volume create --label age=old --label gone=yes %data")
        .ok();
    fs::write(scene.data("data").join("f"), "first\n").unwrap();
    scene.run("volume protect %data").ok();
    scene.run("volume backup %data --to %home").ok();
    fs::write(scene.data("data").join("f"), "second\n").unwrap();
    scene.run("volume unprotect %data").ok();
    scene.run("volume label %data age=new more=yes gone-").ok();
    scene.run("volume restore %home:%data").ok();
    let shown = |volume: &str| {
        let format = "{{json .Labels}}";
        scene
            .run_and(&format!("volume inspect %{volume} --format"), &[format])
            .ok()
    };
    let content = |volume: &str| fs::read_to_string(scene.data(volume).join("f")).unwrap();
    assert_eq!(content("data"), "first\n");
    assert_eq!(shown("data"), r#"{"age":"new","more":"yes"}"#);
    // A new volume is as the one was that was backed up, from the moment at which it is seen.
    scene.run("volume restore %home:%data --as %copy").ok();
    assert_eq!(content("copy"), "first\n");
    assert_eq!(shown("copy"), r#"{"age":"old","gone":"yes"}"#);
    scene.run("volume rm --now %copy").fails(1, "protected");
    let history = scene.run("volume history %copy").ok();
    assert!(history.contains("restore"), "{history}");
    scene.run("volume unprotect %copy").ok();
    scene.run("volume rm --now %data %copy").ok();
    scene.run("backup rm-repo %home").ok();
}

/// Each long command tells programs how far it is, shows people a bar, and says nothing when nobody looks.
fn how_far(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene
        .run_and(
            "run --rm -v %data:/d busybox sh -c",
            &["head -c 20000000 /dev/urandom > /d/big"],
        )
        .ok();
    let socket = format!("unix://{}", scene.engine.socket().display());
    // Before the flags, behind them, what is said.
    for (number, (command, rest, action)) in [
        ("volume backup", "%data --to %home", "Backing up"),
        ("volume restore", "%home:%data --as %copyN", "Restoring"),
        ("backup verify", "%home:%data", "Verifying"),
        ("backup check", "%home --read-data", "Verifying"),
        ("backup drill", "%home:%data", "Restoring"),
        ("volume copy", "%data SOCKET/%sentN", "Sending"),
        ("volume move", "%sentNjson SOCKET/%movedN", "Catching up"),
    ]
    .into_iter()
    .enumerate()
    {
        for (how, flags) in [
            ("json", "--progress json"),
            ("none", "--quiet"),
            ("pipe", ""),
        ] {
            if command == "volume move" && how != "json" {
                continue;
            }
            let rest = rest
                .replace("Njson", "5json")
                .replace('N', &format!("{number}{how}"))
                .replace("SOCKET", &socket);
            let told = scene.run(&format!("{command} {flags} {rest}"));
            told.ok();
            let lines: Vec<serde_json::Value> = told
                .stderr
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if how == "json" {
                let measured = lines.iter().any(|line| {
                    line["action"] == action
                        && line["current"].as_u64().is_some_and(|done| done > 0)
                        && line["rate"].is_u64()
                });
                assert!(measured, "{command}: {told}");
                let beyond = lines.iter().find(|line| {
                    let total = line["total"].as_u64();
                    total.is_some_and(|total| line["current"].as_u64() > Some(total))
                });
                assert_eq!(beyond, None, "{command}: {told}");
            } else {
                assert!(lines.is_empty(), "{command} {how}: {told}");
                assert!(!told.stderr.contains(action), "{command} {how}: {told}");
            }
        }
    }
    let mut terminal = scene.terminal("volume restore %home:%data --as %shown");
    terminal.expect("Restoring");
    terminal.expect("[=");
    assert_eq!(terminal.finish().0, 0);
    let all = scene.run("volume ls -q").ok();
    let own = scene.name("");
    for volume in all.lines().filter(|volume| volume.starts_with(&own)) {
        scene.run(&format!("volume rm --now {volume}")).ok();
    }
    scene.run("backup rm-repo %home").ok();
}

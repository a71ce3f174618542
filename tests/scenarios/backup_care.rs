//! Backups that meet: two of one volume at once, volumes that go or cannot be read, and what a volume is after a restore
//! over it; and how far they are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use testkit::Running;

use super::backups::Repository;
use super::{Scenario, Scene};

pub(crate) const OWN: &[Scenario] = &[
    ("S87_two_backups_of_one_volume", in_turn),
    ("S88_labels_after_a_restore", labels),
    ("S93_how_far_it_is", how_far),
    ("S106_volumes_that_go_before_their_backup", going),
    ("S107_the_others_are_backed_up", in_part),
    ("S108_nobody_takes_what_is_being_restored", restored),
    ("S109_who_reads_makes_no_run_fail", reading),
];

/// A backup of `%data` that goes on until there is a file `go` in it; a container `%user` has the volume.
fn held(scene: &Scene) -> Running {
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
    first
}

/// One waits for the other, and may leave.
fn in_turn(scene: &Scene) {
    let _repository = Repository::new(scene);
    let first = held(scene);
    let data = scene.data("data");
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

/// Volumes that were found and not named: what is removed before its turn is passed over, what is renamed is the same.
fn going(scene: &Scene) {
    let _repository = Repository::new(scene);
    let label = format!("set={}", scene.prefix);
    let volumes = ["data", "gone", "late", "old"];
    for volume in volumes {
        scene
            .run(&format!("volume create --label {label} %{volume}"))
            .ok();
        fs::write(scene.data(volume).join("f"), volume).unwrap();
    }
    let first = held(scene);
    let schedule = scene.name("nightly");
    scene
        .run(&format!(
            "backup schedule set {schedule} --daily 03:00 --to %home --consistency none --label {label}"
        ))
        .ok();
    let found = scene.start(&format!(
        "volume backup --label {label} --to %home --consistent none --progress json"
    ));
    let scheduled = scene.start(&format!("backup schedule run --progress json {schedule}"));
    let named =
        scene.start("volume backup %data %gone --to %home --consistent none --progress json");
    for waiting in [&found, &scheduled, &named] {
        waiting.expect("Waiting for another backup");
    }
    scene.run("volume rm --now %gone").ok();
    scene.run("volume rm %late").ok();
    scene.run("volume rename %old %new").ok();
    fs::write(scene.data("data").join("go"), "").unwrap();
    first.finish().ok();
    found.finish().ok();
    scheduled.finish().ok();
    // Whoever named it wants it.
    named.finish().fails(1, "no such volume");
    let listed = scene.run("backup ls %home").ok();
    for (volume, backups) in [
        ("data", 3),
        ("new", 2),
        ("gone", 0),
        ("late", 0),
        ("old", 0),
    ] {
        let name = scene.name(volume);
        let lines = listed
            .lines()
            .filter(|line| line.split_whitespace().any(|word| word == name));
        assert_eq!(lines.count(), backups, "{volume}: {listed}");
    }
    for volume in ["data", "new"] {
        assert_eq!(
            scene.run(&format!("volume snapshot ls -q %{volume}")).ok(),
            ""
        );
    }
    // No lease is left either.
    scene.run(&format!("backup schedule rm {schedule}")).ok();
    scene.run("rm -f %user").ok();
    scene.run("volume rm --now %data %new").ok();
    scene.run("backup rm-repo %home").ok();
}

/// One volume that cannot be read is told by name, and keeps no other one from being backed up.
fn in_part(scene: &Scene) {
    let _repository = Repository::new(scene);
    let label = format!("set={}", scene.prefix);
    for volume in ["a", "bad", "c"] {
        scene
            .run(&format!("volume create --label {label} %{volume}"))
            .ok();
        fs::write(scene.data(volume).join("f"), volume).unwrap();
    }
    let bytes = fs::canonicalize(scene.data("bad")).unwrap();
    let away = bytes.with_file_name("away");
    fs::rename(&bytes, &away).unwrap();
    let bad = scene.name("bad");
    let part = scene.run(&format!("volume backup --label {label} --to %home"));
    part.fails(1, &format!("volume {bad} was not backed up"));
    let lines = part.stdout.lines();
    let saved: Vec<&str> = lines.filter_map(|line| line.split('@').next()).collect();
    let both = ["a", "c"].map(|volume| format!("{}:{}", scene.name("home"), scene.name(volume)));
    assert_eq!(saved, both, "{part}");

    // A scheduled run has failed, of that volume alone; what else it does it has done.
    let schedule = scene.name("nightly");
    scene
        .run(&format!(
            "backup schedule set {schedule} --daily 03:00 --to %home --label {label} --keep-last 1"
        ))
        .ok();
    let listening =
        scene.start("events --filter type=volume --filter event=backup_failed --format json");
    testkit::until("the failure is heard", || {
        let failed = scene.run(&format!("backup schedule run {schedule}"));
        failed.fails(1, &format!("volume {bad} was not backed up"));
        listening.stdout().contains(&bad).then_some(())
    });
    for volume in ["a", "c"] {
        assert!(
            !listening.stdout().contains(&scene.name(volume)),
            "{}",
            listening.stdout()
        );
    }
    drop(listening);
    let inspected = scene
        .run(&format!("backup schedule inspect {schedule}"))
        .json();
    let last = &inspected[0]["State"]["Last"];
    assert_eq!(last["Volumes"].as_array().map(Vec::len), Some(2), "{last}");
    // By hand, and the one that the schedule keeps.
    for volume in ["a", "c"] {
        let listed = scene.run(&format!("backup ls -q %home:%{volume}")).ok();
        assert_eq!(listed.lines().count(), 2, "{listed}");
    }

    // Whoever names volumes wants all of them or none.
    scene.run("volume backup %a %bad --to %home").fails(1, "");
    fs::rename(&away, &bytes).unwrap();
    scene.run(&format!("backup schedule run {schedule}")).ok();
    scene.run(&format!("backup schedule rm {schedule}")).ok();
    scene.run("volume rm --now %a %bad %c").ok();
    scene.run("backup rm-repo %home").ok();
}

/// The volumes of a stack are in use before their containers are there, and those of drills are nobody's data.
fn restored(scene: &Scene) {
    let repository = Repository::new(scene);
    scene
        .run("create --name %it -v %a:/a -v %z:/z busybox true")
        .ok();
    fs::write(scene.data("a").join("f"), "small").unwrap();
    scene
        .run_and(
            "run --rm -v %z:/z busybox sh -c",
            &["head -c 3000000 /dev/urandom > /z/f"],
        )
        .ok();
    scene.run("volume backup %a %z --to %home").ok();
    scene.run("rm %it").ok();
    scene.run("volume rm --now %a %z").ok();
    scene.run("backup rm-repo %home").ok();
    repository
        .add_with(scene, "add", &["--limit-download", "500000"])
        .ok();

    let stack = scene.start("stack restore %home:%a");
    testkit::until("the first volume is there", || {
        (scene.run("volume inspect %a").code == 0).then_some(())
    });
    scene.run("volume rm %a").fails(1, "volume is in use");
    stack.finish().ok();
    assert_eq!(
        fs::read_to_string(scene.data("a").join("f")).unwrap(),
        "small"
    );
    scene.run("rm %it").ok();
    scene.run("volume rm --now %a %z").ok();

    let mut line = scene.words("backup drill --image busybox %home:%a --command");
    line.push("sleep 1000".to_owned());
    let drill = Running::start(&mut scene.client.command(&scene.engine, &line));
    let from = format!("orlop.drill={}:{}@", scene.name("home"), scene.name("a"));
    let volume = testkit::until("the drill has its volume", || {
        let listed = scene
            .run_and("volume ls --format", &["{{.Name}} {{.Labels}}"])
            .ok();
        let own = listed.lines().find(|line| line.contains(&from))?;
        own.split(' ').next().map(str::to_owned)
    });
    scene
        .run(&format!("volume rm {volume}"))
        .fails(1, "volume is in use");
    scene
        .run("volume backup --label orlop.drill --to %home")
        .fails(1, "no volume has these labels");
    drill.signal(Signal::INT);
    assert_ne!(drill.finish().code, 0);
    testkit::until("the drill's volume is gone", || {
        (scene.run(&format!("volume inspect {volume}")).code != 0).then_some(())
    });
    scene.run("backup rm-repo %home").ok();
}

/// A run that may not forget while somebody reads leaves that to the next one.
fn reading(scene: &Scene) {
    let repository = Repository::new(scene);
    let schedule = scene.name("nightly");
    scene
        .run_and(
            "run --rm -v %data:/d busybox sh -c",
            &["head -c 3000000 /dev/urandom > /d/big"],
        )
        .ok();
    scene
        .run(&format!(
            "backup schedule set {schedule} --daily 03:00 --to %home --volumes %data --keep-last 1"
        ))
        .ok();
    scene.run(&format!("backup schedule run {schedule}")).ok();
    // As from another host: by another name, and so slowly that it goes on for a minute.
    let slow = repository.called(scene.name("slow"));
    slow.add_with(scene, "add", &["--limit-download", "50000"])
        .ok();
    let reader = scene.start("backup cat %slow:%data big");
    testkit::until("it reads", || (slow.locks() > 0).then_some(()));
    let run = scene.run(&format!("backup schedule run {schedule}"));
    run.ok();
    assert!(run.stderr.contains("goes with the next run"), "{run}");
    assert_eq!(scene.run("backup ls -q %home").ok().lines().count(), 2);
    reader.signal(Signal::INT);
    assert_ne!(reader.finish().code, 0);
    testkit::until("nobody reads", || (slow.locks() == 0).then_some(()));
    scene.run(&format!("backup schedule run {schedule}")).ok();
    assert_eq!(scene.run("backup ls -q %home").ok().lines().count(), 1);
    scene.run(&format!("backup schedule rm {schedule}")).ok();
    scene.run("volume rm --now %data").ok();
    scene.run("backup rm-repo %slow").ok();
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

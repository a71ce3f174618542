//! S80–S88: volumes seen, guarded and changed: what orlop has beyond Docker, and that Docker's own commands feel nothing
//! of it but what they should.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{Scenario, Scene, host, one_prune_at_a_time};

/// Docker's commands on volumes that are guarded.
pub(super) const SCENARIOS: &[Scenario] = &[
    ("s80_removed_is_gone_for_docker", s80),
    ("s81_protected", s81),
    ("s82_one_writer", s82),
];

pub(super) const OWN: &[Scenario] = &[
    ("s80a_undelete", s80a),
    ("s80b_trash_settings", s80b),
    ("s80c_rm_with_a_container", s80c),
    ("s83_prune_what_was_shown", s83),
    ("s84_seen", s84),
    ("s84a_hints", s84a),
    ("s85_audit", s85),
    ("s86_explain_mounts", s86),
    ("s87_rename_in_use", s87),
    ("s87a_labels_and_owners", s87a),
    ("s88_files_without_a_container", s88),
];

/// A command of orlop's own, whichever client drives the scenario.
pub(super) fn own(scene: &Scene, line: &str) -> testkit::Output {
    let own = Scene {
        client: testkit::Client::Orlop,
        ..scene.clone()
    };
    own.run(line)
}

fn keep(scene: &Scene, volume: &str, text: &str) {
    scene.run(&format!("volume create %{volume}")).ok();
    fs::write(scene.data(volume).join("kept"), text).unwrap();
}

/// Ids in the trash of what was called so.
fn trashed(scene: &Scene, volume: &str) -> Vec<String> {
    let trash = own(scene, "volume trash ls --json").json();
    trash
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["Name"] == scene.name(volume))
        .map(|one| one["ID"].as_str().unwrap().to_owned())
        .collect()
}

fn s80(scene: &Scene) {
    keep(scene, "data", "old");
    assert_eq!(scene.run("volume rm %data").ok(), scene.name("data"));
    scene.run("volume inspect %data").fails(1, "no such volume");
    let left = scene.run("volume ls -q --filter name=%data").ok();
    assert_eq!(left, "");
    assert_eq!(trashed(scene, "data").len(), 1);
    // The name is free at once, and what takes it is new.
    let seen = scene.run("run --rm -v %data:/d busybox ls /d").ok();
    assert_eq!(seen, "");
    own(scene, "volume undelete %data").fails(1, "exists already");
    scene.run("volume rm %data").ok();
    assert_eq!(trashed(scene, "data").len(), 1, "an empty one is not kept");
    own(scene, "volume undelete %data").ok();
    let back = scene.run("run --rm -v %data:/d busybox cat /d/kept").ok();
    assert_eq!(back, "old");
    own(scene, "volume rm --now %data").ok();
    assert!(trashed(scene, "data").is_empty());
}

fn s80a(scene: &Scene) {
    for text in ["first", "second"] {
        keep(scene, "twice", text);
        scene.run("volume rm %twice").ok();
    }
    let ids = trashed(scene, "twice");
    assert_eq!(ids.len(), 2);
    assert_eq!(
        scene.run("volume undelete %twice").ok(),
        scene.name("twice")
    );
    let path = scene.data("twice").join("kept");
    assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    let taken = scene.run(&format!("volume undelete {}", &ids[0][..12]));
    taken.fails(1, "hint: --as NAME");
    scene
        .run(&format!("volume undelete {} --as %other", &ids[0][..12]))
        .ok();
    let other = scene.data("other").join("kept");
    assert_eq!(fs::read_to_string(other).unwrap(), "first");
    scene
        .run("volume undelete %nothing")
        .fails(1, "is in the trash");
    let actions: Vec<String> = scene
        .run("volume history --json %other")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["Action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["create", "trash", "undelete"]);
    scene.run("volume rm %twice %other").ok();
    scene.run("volume trash empty -f %twice %other").ok();
    assert!(trashed(scene, "twice").is_empty());
}

fn s80b(scene: &Scene) {
    // Shared by all scenarios: set to what it is.
    let now = scene.run("volume trash set").ok();
    assert_eq!(
        now,
        "Removed volumes are kept for 24h, up to 10% of the filesystem."
    );
    let same = scene
        .run_and("volume trash set --grace 24h --max-size", &["10%"])
        .ok();
    assert_eq!(same, now);
    scene
        .run("volume trash set --grace soon")
        .fails(125, "--grace");
    scene
        .run_and("volume trash set --max-size", &["300%"])
        .fails(125, "--max-size");
}

fn s80c(scene: &Scene) {
    // An anonymous volume that goes with its container can be had back, too.
    scene
        .run_and(
            "run --name %c -v /d busybox sh -c",
            &["echo precious > /d/kept"],
        )
        .ok();
    let name = scene.inspect("c", "{{(index .Mounts 0).Name}}");
    scene.run("rm -v %c").ok();
    scene
        .run(&format!("volume inspect {name}"))
        .fails(1, "no such volume");
    scene
        .run(&format!("volume undelete {name} --as %saved"))
        .ok();
    assert_eq!(scene.run("volume cat %saved:/kept").ok(), "precious");
    // What an image or nothing filled is no loss.
    scene.run("run --rm -v /d busybox true").ok();
    scene.run("volume rm --now %saved").ok();
}

fn s81(scene: &Scene) {
    keep(scene, "data", "x");
    assert_eq!(own(scene, "volume protect %data").ok(), scene.name("data"));
    let refusal = format!(
        "volume {} is protected; unprotect it first",
        scene.name("data")
    );
    scene.run("volume rm %data").fails(1, &refusal);
    scene.run("volume rm -f %data").fails(1, &refusal);
    let label = format!("--filter label=care={}", scene.name("data"));
    own(
        scene,
        &format!("volume label %data care={}", scene.name("data")),
    )
    .ok();
    {
        let _alone = one_prune_at_a_time();
        own(scene, &format!("volume prune -f --all {label}")).ok();
    }
    assert!(scene.data("data").join("kept").exists());
    own(scene, "volume unprotect %data").ok();
    scene.run("volume rm %data").ok();
    own(scene, "volume trash empty -f %data").ok();
}

fn s82(scene: &Scene) {
    scene
        .run("volume create --label orlop.exclusive=true %data")
        .ok();
    scene
        .run("run -d --name %first -v %data:/d busybox sleep 1000")
        .ok();
    let second = scene.run("run -d --name %second -v %data:/d busybox sleep 1000");
    assert_ne!(second.code, 0);
    let sentence = format!(
        "volume {} has one writer at a time, and container \"/{}\" is writing to it",
        scene.name("data"),
        scene.name("first")
    );
    assert!(second.stderr.contains(&sentence), "{second}");
    scene.run("run --rm -v %data:/d:ro busybox ls /d").ok();
    scene.run("rm -f %first").ok();
    scene.run("start %second").ok();
    scene.run("rm -f %second").ok();
    scene.run("volume rm %data").ok();
    // A mount may want it for itself.
    scene
        .run("run -d --name %first -v %plain:/d busybox sleep 1000")
        .ok();
    let alone = own(
        scene,
        "run -d --name %alone --mount src=%plain,dst=/d,volume-exclusive busybox sleep 1000",
    );
    assert_ne!(alone.code, 0);
    assert!(alone.stderr.contains("one writer at a time"), "{alone}");
    scene.run("rm -f %first").ok();
    own(scene, "start %alone").ok();
    let second = scene.run("run --name %second -v %plain:/d busybox true");
    assert_ne!(second.code, 0);
    scene.run("rm -f %alone %second").ok();
    // All volumes of a container, and a volume from its first day on.
    own(
        scene,
        "run -d --name %alone --exclusive -v %plain:/d -v %other:/o busybox sleep 1000",
    )
    .ok();
    for volume in ["plain", "other"] {
        own(
            scene,
            &format!("run --name %second -v %{volume}:/d busybox true"),
        )
        .fails(125, "one writer at a time");
        scene.run("rm -f %second").ok();
    }
    own(scene, "run --rm -v %plain:/d:ro busybox ls /d").ok();
    scene.run("rm -f %alone").ok();
    scene.run("volume rm %plain %other").ok();
    own(scene, "volume create --exclusive %born").ok();
    let label = scene
        .run_and(
            "volume inspect %born --format",
            &["{{index .Labels \"orlop.exclusive\"}}"],
        )
        .ok();
    assert_eq!(label, "true");
    scene.run("volume rm %born").ok();
}

fn s83(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let filter = format!("--filter label=set={}", scene.name("x"));
    let make = |name: &str| {
        scene
            .run(&format!(
                "volume create --label set={} %{name}",
                scene.name("x")
            ))
            .ok();
        fs::write(scene.data(name).join("kept"), "x").unwrap();
    };
    make("one");
    let seen = scene
        .run(&format!("volume prune --all --dry-run {filter}"))
        .ok();
    assert!(
        seen.contains("4.1kB") || seen.contains("1B") || seen.contains("0B"),
        "a size that was not known is measured: {seen}"
    );
    // What it tells to type is what it was asked.
    let typed = format!("volume prune --all {filter} --exactly ");
    assert!(seen.contains(&typed), "{seen}");
    let shown = scene
        .run(&format!("volume prune --all --dry-run --json {filter}"))
        .json();
    assert_eq!(
        shown["VolumesDeleted"],
        serde_json::json!([scene.name("one")])
    );
    let token = shown["Token"].as_str().unwrap();
    let text = scene
        .run(&format!("volume prune -a --dry-run {filter}"))
        .ok();
    assert!(
        text.contains(&scene.name("one")) && text.contains(&format!("--exactly {token}")),
        "{text}"
    );
    assert!(scene.data("one").exists(), "a dry run removes nothing");
    make("two");
    scene
        .run(&format!("volume prune --all {filter} --exactly {token}"))
        .fails(1, "no longer what was shown");
    assert!(scene.data("one").exists());
    let shown = scene
        .run(&format!("volume prune --all --dry-run --json {filter}"))
        .json();
    let token = shown["Token"].as_str().unwrap();
    let pruned = scene
        .run(&format!("volume prune --all {filter} --exactly {token}"))
        .ok();
    assert!(
        pruned.contains(&scene.name("one")) && pruned.contains(&scene.name("two")),
        "{pruned}"
    );
    scene.run("volume undelete %one").ok();
    let now = scene.run(&format!("volume prune -f --all --now {filter}"));
    assert!(now.ok().contains(&scene.name("one")));
    assert!(trashed(scene, "one").is_empty());
    scene.run("volume trash empty -f %two").ok();
}

fn s84(scene: &Scene) {
    scene
        .run("run -d --name %web -v %data:/d:ro -v %new:/n busybox sleep 1000")
        .ok();
    fs::write(scene.data("data").join("file"), vec![1; 100_000]).unwrap();
    let plain = scene.run("volume ls --filter name=%data").ok();
    assert!(plain.starts_with("DRIVER    VOLUME NAME\n"), "{plain}");
    let before = scene
        .run_and(
            "volume ls --filter name=%data --format",
            &["{{.Users}} {{.Size}} {{.Protected}}"],
        )
        .ok();
    // Nobody has to ask for a first measurement that takes no time.
    let (users, rest) = before.split_once(' ').unwrap();
    assert_eq!(users, "1");
    assert!(rest.ends_with("kB false"), "{before}");
    let wide = scene
        .run("volume ls --wide --exact --filter name=%data")
        .ok();
    assert!(
        wide.contains("USERS") && wide.contains("kB") && wide.contains("ago"),
        "{wide}"
    );
    let cached = scene
        .run_and("volume ls --filter name=%data --format", &["{{.Size}}"])
        .ok();
    assert!(cached.ends_with("kB"), "{cached}");
    let detail = &scene.run("volume inspect %new").json()[0];
    assert_eq!(detail["UsedBy"][0]["Name"], scene.name("web"));
    assert_eq!(detail["UsedBy"][0]["State"], "running");
    assert_eq!(detail["UsedBy"][0]["RW"], true);
    assert_eq!(detail["CreatedBy"]["Image"], "busybox");
    assert_eq!(detail["CreatedBy"]["Command"], "sleep 1000");
    assert_eq!(detail["LastUsed"]["Name"], scene.name("web"));
    // Who only reads is not the last to have written.
    scene
        .run("run -d --name %reader -v %new:/n:ro busybox sleep 1000")
        .ok();
    let detail = &scene.run("volume inspect %new").json()[0];
    assert_eq!(detail["LastUsed"]["Name"], scene.name("reader"));
    assert_eq!(detail["LastWriter"]["Name"], scene.name("web"));
    scene.run("rm -f %web %reader").ok();
    let history = scene.run("volume history %data").ok();
    assert!(
        history.contains("mount") && history.contains(&format!("{} at /d (ro)", scene.name("web"))),
        "{history}"
    );
    testkit::until("the end is noted", || {
        scene
            .run("volume history %data")
            .ok()
            .contains("unmount")
            .then_some(())
    });
    scene.run("volume rm --now %data %new").ok();
}

fn s84a(scene: &Scene) {
    scene.run("create --name %user -v %data:/d busybox").ok();
    let refused = scene.run("volume rm %data");
    refused.fails(1, "volume is in use - [");
    refused.fails(
        1,
        &format!("hint: used by {} (created, rw at /d)", scene.name("user")),
    );
    scene.run("rm %user").ok();
    scene.run("volume rm %data").ok();
}

fn s85(scene: &Scene) {
    let root = &scene.engine.root;
    let empty = root.join("data").join("e".repeat(32));
    let full = root.join("data").join("f".repeat(32));
    fs::create_dir_all(empty.join("_data")).unwrap();
    fs::create_dir_all(full.join("_data")).unwrap();
    fs::write(full.join("_data/precious"), "x").unwrap();
    let link = root.join("volumes").join(scene.name("stale"));
    std::os::unix::fs::symlink("../data/nowhere", &link).unwrap();
    let source = scene.directory("source");
    scene
        .run(&format!(
            "create --name %c -v /var/run/docker.sock:/s --mount type=bind,src={},dst=/b -v /anonymous busybox",
            source.display()
        ))
        .ok();
    let anonymous = scene.inspect(
        "c",
        "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}}{{end}}{{end}}",
    );
    scene.run("volume create %lost").ok();
    let lost = fs::canonicalize(root.join("volumes").join(scene.name("lost"))).unwrap();
    let away = scene.directory("away").join("lost");
    host("mv", &[lost.to_str().unwrap(), away.to_str().unwrap()]);
    fs::remove_dir(&source).unwrap();
    for container in ["w1", "w2"] {
        scene
            .run(&format!(
                "run -d --name %{container} -v %shared:/d busybox sleep 1000"
            ))
            .ok();
    }
    let output = scene.run("volume audit --json");
    assert_eq!(output.code, 1, "{output}");
    let found: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let has =
        |kind: &str, subject: &str| {
            found["Findings"].as_array().unwrap().iter().any(|one| {
                one["Kind"] == kind && one["Subject"].as_str().unwrap().ends_with(subject)
            })
        };
    for (kind, subject) in [
        ("empty-orphan", "e".repeat(32)),
        ("orphan-data", "f".repeat(32)),
        ("dangling-link", scene.name("stale")),
        ("missing-bind", scene.name("c")),
        ("doubtful-mount", scene.name("c")),
        ("missing-data", scene.name("lost")),
        ("several-writers", scene.name("shared")),
    ] {
        assert!(has(kind, &subject), "{kind} {subject} in {found:#}");
    }
    scene.run("rm -f %c %w1 %w2").ok();
    let output = scene.run("volume audit --fix");
    assert_eq!(output.code, 1, "{output}");
    assert!(!empty.exists() && !link.is_symlink());
    assert!(
        full.join("_data/precious").exists(),
        "data is never removed"
    );
    assert!(
        output.stdout.contains("unused-anonymous")
            && output.stdout.contains("by image busybox at /anonymous"),
        "{output}"
    );
    scene
        .run(&format!("volume adopt {} --name %adopted", "f".repeat(32)))
        .ok();
    assert_eq!(scene.run("volume cat %adopted:/precious").ok(), "x");
    scene.run("volume rm --now %adopted").ok();
    host("mv", &[away.to_str().unwrap(), lost.to_str().unwrap()]);
    scene
        .run(&format!("volume rm --now {anonymous} %lost %shared"))
        .ok();
}

fn s86(scene: &Scene) {
    let bind = scene.directory("bind");
    let output = scene
        .run(&format!(
            "run --explain-mounts -u 1000 -v %data:/etc -v {}/missing:/b -v /anonymous --tmpfs /t busybox",
            bind.display()
        ))
        .ok();
    let line = |start: &str| {
        output
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start} in\n{output}"))
            .to_owned()
    };
    assert!(line("user").starts_with("user 1000:"), "{output}");
    assert!(line("/etc ").contains("volume"), "{output}");
    assert!(line("/etc: makes the volume").contains(&scene.name("data")));
    assert!(line("/etc: copies").contains("entries of the image's /etc"));
    line("/b: makes the directory");
    line("/b: WARNING: user 1000:");
    line("/anonymous: makes an anonymous volume");
    assert!(line("/t ").contains("--tmpfs"), "{output}");
    // Nothing was made.
    scene.run("volume inspect %data").fails(1, "no such volume");
    // One file may be written to though it cannot be entered, through a group, too; what is made within another mount is told.
    let file = bind.join("file");
    fs::write(&file, "x").unwrap();
    std::os::unix::fs::chown(&file, Some(7), Some(77)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    let explain = |flags: &str| {
        scene
            .run(&format!("create --explain-mounts {flags} busybox"))
            .ok()
    };
    let shown = file.display();
    assert!(explain(&format!("-u 8 -v {shown}:/f")).contains("will not be able to write"));
    for flags in ["-u 7", "-u 8:77", "-u 8 --group-add 77"] {
        let told = explain(&format!("{flags} -v {shown}:/f"));
        assert!(!told.contains("WARNING"), "{flags}: {told}");
    }
    let told = explain(&format!("-v {}:/b -v %data:/b/in/it", bind.display()));
    let made = format!(
        "/b/in/it: makes the mount point in/it in {}",
        bind.display()
    );
    assert!(told.contains(&made), "{told}");
    // A snapshot is read as it is.
    scene.run("volume create %old").ok();
    own(scene, "volume snapshot create --name monday %old").ok();
    let told = own(
        scene,
        "create --explain-mounts -v %old@monday:/etc:ro busybox",
    )
    .ok();
    assert!(
        !told.contains("makes") && !told.contains("copies"),
        "{told}"
    );
    own(
        scene,
        "create --explain-mounts -v %old@none:/etc:ro busybox",
    )
    .fails(1, "no such snapshot");
    scene.run("volume rm %old").ok();
    assert!(!bind.join("missing").exists());
    scene
        .run("create --explain-mounts -v %data:relative busybox")
        .fails(1, "mount path must be absolute");
}

fn s87(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %c -v %before:/d busybox sh -c",
            &["echo 1 > /d/a; sleep 1000"],
        )
        .ok();
    testkit::until("the file is there", || {
        scene.data("before").join("a").exists().then_some(())
    });
    assert_eq!(
        scene.run("volume rename %before %after").ok(),
        scene.name("after")
    );
    scene.sh("c", "echo 2 > /d/b").ok();
    assert!(scene.data("after").join("b").exists());
    assert!(!scene.data("before").exists());
    assert_eq!(
        scene.inspect(
            "c",
            "{{(index .Mounts 0).Name}} {{(index .Mounts 0).Source}}"
        ),
        format!("{} {}", scene.name("after"), scene.data("after").display())
    );
    scene.run("volume rm %after").fails(1, "volume is in use");
    scene.run("restart -t 0 %c").ok();
    assert_eq!(scene.sh("c", "cat /d/b").ok(), "2");
    scene.run("volume create %taken").ok();
    scene
        .run("volume rename %taken %after")
        .fails(1, "exists already");
    scene.run("rm -f %c").ok();
    scene.run("volume rm --now %after %taken").ok();
}

fn s87a(scene: &Scene) {
    keep(scene, "data", "x");
    scene.run("volume label %data a=1 b=2").ok();
    scene.run("volume label %data b=3 a-").ok();
    let labels = scene
        .run_and("volume inspect %data --format", &["{{json .Labels}}"])
        .json();
    assert_eq!(labels, serde_json::json!({ "b": "3" }));
    scene
        .run("volume label %data nonsense")
        .fails(1, "KEY=VALUE");
    assert_eq!(scene.run("volume chown %data 12:34").ok(), "2 changed");
    assert_eq!(scene.run("volume chown %data 12:34").ok(), "0 changed");
    let file = fs::metadata(scene.data("data").join("kept")).unwrap();
    assert_eq!((file.uid(), file.gid()), (12, 34));
    scene.run("volume chown %data 99 --from 5").ok();
    assert_eq!(
        fs::metadata(scene.data("data").join("kept")).unwrap().uid(),
        12
    );
    scene.run("volume chown %data app").fails(1, "numbers");
    scene.run("volume rm --now %data").ok();
}

fn s88(scene: &Scene) {
    let local = scene.directory("local");
    fs::create_dir(local.join("dir")).unwrap();
    fs::write(local.join("dir/file"), "text").unwrap();
    let dir = local.join("dir").display().to_string();
    scene.run("volume create %data").ok();
    scene.run(&format!("volume cp {dir} %data:/")).ok();
    scene
        .run(&format!("volume cp {dir}/file %data:/renamed"))
        .ok();
    assert_eq!(scene.run("volume cat %data:dir/file").ok(), "text");
    let listed = scene.run("volume ls-files %data").ok();
    let names: Vec<&str> = listed
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["dir", "renamed"], "{listed}");
    assert!(listed.starts_with("drwx"), "{listed}");
    scene
        .run(&format!(
            "volume cp %data:/dir/file {}/out",
            local.display()
        ))
        .ok();
    assert_eq!(fs::read_to_string(local.join("out")).unwrap(), "text");
    scene.run("volume create %copy").ok();
    scene.run("volume cp %data:/dir %copy:/").ok();
    assert_eq!(scene.run("volume cat %copy:/dir/file").ok(), "text");
    scene
        .run("volume cat %data:/nope")
        .fails(1, "cannot open /nope");
    scene
        .run(&format!("volume cp %data:/nope {}", local.display()))
        .fails(1, "Could not find the file /nope in volume");
    scene.run("volume rm --now %data %copy").ok();
}

//! S167–S169: volumes and images that change: reseeding, snapshots before risky steps, and what the audit says of it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::volume_care::own;
use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[("s168_safety_snapshots", s168)];

pub(super) const OWN: &[Scenario] = &[
    ("s167_reseed", s167),
    ("s167a_reseed_without_its_image", s167a),
    ("s168a_care_by_configuration", s168a),
    ("s169_audit_of_binds", s169),
    ("s169a_audit_while_volumes_go", s169a),
];

/// An image with `/seed` made by `script`.
fn image(scene: &Scene, name: &str, from: &str, script: &str) {
    scene
        .run_and(&format!("run --name %made {from} sh -c"), &[script])
        .ok();
    scene
        .run(&format!("commit %made {}", scene.name(name)))
        .ok();
    scene.run("rm %made").ok();
}

const FIRST: &str = "mkdir -p /seed/dir; cd /seed; for f in same updated changed dropped removed; do echo one > $f; done; \
    echo one > dir/inner";
const SECOND: &str =
    "cd /seed; for f in updated changed removed new dir/fresh; do echo two > $f; done; rm dropped";
const USERS: &str =
    "cd /seed; echo mine > changed; echo mine > added; rm removed; echo mine > dir/added";

fn seeded(scene: &Scene) {
    image(scene, "one", "busybox", FIRST);
    image(scene, "two", &scene.name("one"), SECOND);
    scene
        .run_and(
            &format!("run --rm -v %data:/seed {} sh -c", scene.name("one")),
            &[USERS],
        )
        .ok();
}

fn content(scene: &Scene, path: &str) -> String {
    fs::read_to_string(scene.data("data").join(path)).unwrap_or_default()
}

fn s167(scene: &Scene) {
    seeded(scene);
    let format = "{{.SeededBy.Image}} {{.SeededBy.Path}}";
    let by = scene
        .run_and("volume inspect %data --format", &[format])
        .ok();
    assert_eq!(by, format!("{} /seed", scene.name("one")));
    // The image as it is: only what was done here is different, and that is kept.
    let same = scene.run("volume reseed %data").ok();
    assert_eq!(same, "= /changed\n= /removed");
    // Another image for the same directory is told.
    scene
        .run(&format!(
            "create --name %c -v %data:/seed {}",
            scene.name("two")
        ))
        .ok();
    let drift = scene
        .run_and(
            "volume inspect %data --format",
            &["{{range .Drift}}{{.Name}}{{end}}"],
        )
        .ok();
    assert_eq!(drift, scene.name("c"));
    let audit = scene.run("volume audit --json");
    assert!(
        audit.stdout.contains("\"stale-seed\"") && audit.stdout.contains(&scene.name("two")),
        "{}",
        audit.stdout
    );
    let from = format!("volume reseed %data --from {}", scene.name("two"));
    let planned = scene.run(&format!("{from} --diff")).ok();
    let mut planned: Vec<&str> = planned.lines().collect();
    planned.sort_unstable();
    assert_eq!(
        planned,
        [
            "= /changed",
            "= /removed",
            "A /dir/fresh",
            "A /new",
            "D /dropped",
            "M /updated"
        ]
    );
    assert_eq!(content(scene, "updated"), "one\n", "--diff changes nothing");
    let done = scene.run(&format!("{from} --merge")).ok();
    assert!(done.contains("what it held is kept as"), "{done}");
    for (path, text) in [
        ("same", "one\n"),
        ("updated", "two\n"),
        ("new", "two\n"),
        ("dir/fresh", "two\n"),
        ("dir/inner", "one\n"),
        ("dir/added", "mine\n"),
        ("changed", "mine\n"),
        ("added", "mine\n"),
        ("dropped", ""),
        ("removed", ""),
    ] {
        assert_eq!(content(scene, path), text, "{path}");
    }
    // Done: the second image is the base now, and nobody drifts.
    let again = scene.run("volume reseed %data --merge").ok();
    assert_eq!(again, "= /changed\n= /removed");
    let drift = scene
        .run_and(
            "volume inspect %data --format",
            &["{{range .Drift}}{{.Name}}{{end}}"],
        )
        .ok();
    assert_eq!(drift, "");
    scene
        .run("volume reseed %data --replace --no-snapshot")
        .ok();
    assert_eq!(content(scene, "changed"), "two\n");
    assert_eq!(content(scene, "removed"), "two\n");
    assert_eq!(
        content(scene, "added"),
        "mine\n",
        "what users added is nobody's to replace"
    );
    let kept = scene
        .run_and("volume snapshot ls %data --format", &["{{.Reason}}"])
        .ok();
    assert_eq!(kept, "before-reseed");
    let history = scene.run("volume history %data").ok();
    assert!(history.contains("reseed"), "{history}");
    for (from, why) in [
        ("nowhere/%x", "No such image"),
        ("busybox:/no/such", "has no directory /no/such"),
    ] {
        scene
            .run(&format!("volume reseed %data --from {from}"))
            .fails(1, why);
    }
    scene.run("volume create %plain").ok();
    scene
        .run("volume reseed %plain")
        .fails(1, "it is not known which image filled volume");
    scene.run("rm %c").ok();
    scene.run("volume rm --now %data %plain").ok();
    scene
        .run(&format!("rmi {} {}", scene.name("two"), scene.name("one")))
        .ok();
}

fn s167a(scene: &Scene) {
    seeded(scene);
    // Its image is gone, its layers are not those of the other one.
    image(
        scene,
        "other",
        "busybox",
        "mkdir /seed; cd /seed; for f in updated changed new; do echo two > $f; done",
    );
    scene
        .run(&format!("rmi {} {}", scene.name("two"), scene.name("one")))
        .ok();
    let from = format!("volume reseed %data --from {}", scene.name("other"));
    let output = scene.run(&format!("{from} --merge"));
    assert!(output.stderr.contains("is not there"), "{}", output.stderr);
    output.ok();
    assert_eq!(content(scene, "new"), "two\n");
    assert_eq!(content(scene, "updated"), "one\n", "it may be somebody's");
    assert_eq!(content(scene, "dropped"), "one\n");
    scene.run("volume rm --now %data").ok();
    scene.run(&format!("rmi {}", scene.name("other"))).ok();
}

fn reasons(scene: &Scene) -> Vec<String> {
    let listed = own(scene, "volume snapshot ls %data --format {{.Reason}}").ok();
    listed.lines().map(str::to_owned).collect()
}

fn s168(scene: &Scene) {
    scene.run("run --name %made busybox touch /second").ok();
    scene
        .run(&format!("commit %made {}", scene.name("second")))
        .ok();
    scene.run("rm %made").ok();
    let second = scene.name("second");
    scene
        .run("run --rm -v %data:/data busybox touch /data/x")
        .ok();
    // Nobody asked.
    scene
        .run(&format!("run --rm -v %data:/data {second} true"))
        .ok();
    assert!(reasons(scene).is_empty());
    let run = own(
        scene,
        "create --name %c --safety-snapshot -v %data:/data busybox",
    );
    assert!(run.stderr.contains("is kept as"), "{}", run.stderr);
    run.ok();
    assert_eq!(reasons(scene), ["before-upgrade"]);
    scene.run("rm %c").ok();
    // Once for one upgrade; not for the same image.
    own(
        scene,
        "run --rm --safety-snapshot=on -v %data:/data busybox true",
    )
    .ok();
    own(
        scene,
        "run --rm --safety-snapshot=on -v %data:/data busybox true",
    )
    .ok();
    own(
        scene,
        "run --rm --safety-snapshot=off -v %data:/data busybox true",
    )
    .ok();
    assert_eq!(reasons(scene), ["before-upgrade"]);
    own(
        scene,
        "run --rm --safety-snapshot=perhaps -v %data:/data busybox true",
    )
    .fails(125, "must be on or off");
    let expires = own(scene, "volume snapshot ls %data --json");
    assert!(
        !expires.stdout.contains("\"ExpiresAt\": null"),
        "{}",
        expires.stdout
    );
    // Into a container's volume by hand.
    let tar = scene.directory("tar").join("x.tar");
    let file = tar.with_file_name("file");
    fs::write(&file, "").unwrap();
    super::host(
        "tar",
        &[
            "-C",
            file.parent().unwrap().to_str().unwrap(),
            "-cf",
            tar.to_str().unwrap(),
            "file",
        ],
    );
    own(
        scene,
        &format!("volume import --safety-snapshot %data {}", tar.display()),
    )
    .ok();
    assert_eq!(reasons(scene), ["before-upgrade", "before-import"]);
    let cp = format!("volume cp {} %data:/copied", file.display());
    own(scene, &cp).ok();
    own(scene, &format!("{cp} --safety-snapshot")).ok();
    own(scene, "volume cp --safety-snapshot %data:/copied %data:/").ok();
    assert_eq!(
        reasons(scene),
        [
            "before-upgrade",
            "before-import",
            "before-copy",
            "before-copy"
        ]
    );
    own(scene, "volume rm --now %data").ok();
    scene.run(&format!("rmi {second}")).ok();
}

/// Stock clients get the care that `daemon.json` wishes.
fn s168a(scene: &Scene) {
    let mut engine = testkit::Engine::new("care");
    fs::write(
        engine.root.join("daemon.json"),
        r#"{"bind-missing": "error", "safety-snapshots": "on"}"#,
    )
    .unwrap();
    engine.resume();
    engine.load_busybox();
    let docker = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        testkit::Client::Docker.run(&engine, &words)
    };
    let missing = scene.directory("care").join("missing");
    docker(&format!(
        "run --rm -v {}:/w busybox true",
        missing.display()
    ))
    .fails(125, "bind source path does not exist");
    assert!(!missing.exists());
    docker("run --name made -v data:/data busybox touch /data/x").ok();
    docker("commit made second").ok();
    let output = docker("run --rm -v data:/data second true");
    assert!(
        output.stderr.contains("is kept as data@before-upgrade-"),
        "{output}"
    );
    output.ok();
    let kept = testkit::Client::Orlop.run(&engine, &["volume", "snapshot", "ls", "-q", "data"]);
    assert_eq!(kept.ok().lines().count(), 1);
}

fn finds(scene: &Scene, kind: &str, subject: &str) -> Option<String> {
    let audit = scene.run("volume audit --json");
    let audit: serde_json::Value =
        serde_json::from_str(&audit.stdout).unwrap_or_else(|_| panic!("{audit}"));
    let mut findings = audit["Findings"].as_array().unwrap().iter();
    findings
        .find(|one| one["Kind"] == kind && one["Subject"] == scene.name(subject).as_str())
        .map(|one| one["Detail"].as_str().unwrap().to_owned())
}

fn s169(scene: &Scene) {
    let place = scene.directory("binds");
    let file = place.join("app.conf");
    fs::write(&file, "old").unwrap();
    scene
        .run(&format!(
            "run -d --name %c -v {}:/app.conf busybox sleep 1000",
            file.display()
        ))
        .ok();
    fs::write(&file, "new in place").unwrap();
    assert_eq!(finds(scene, "replaced-file", "c"), None);
    // As editors do it.
    fs::write(place.join("next"), "new").unwrap();
    fs::rename(place.join("next"), &file).unwrap();
    let told = finds(scene, "replaced-file", "c").unwrap();
    assert!(
        told.contains("/app.conf still shows the old file"),
        "{told}"
    );
    scene.run("restart -t 0 %c").ok();
    assert_eq!(scene.sh("c", "cat /app.conf").ok(), "new");
    assert_eq!(finds(scene, "replaced-file", "c"), None);
    fs::remove_file(&file).unwrap();
    let told = finds(scene, "missing-bind", "c").unwrap();
    assert!(
        told.contains("the next start makes an empty directory"),
        "{told}"
    );
    scene.run("rm -f %c").ok();
    let socket = scene.engine.root.join("docker.sock");
    for (source, weight) in [
        (socket.to_str().unwrap(), "who has the engine has the host"),
        (
            scene.engine.root.to_str().unwrap(),
            "all volumes and containers",
        ),
        ("/", "the whole host"),
        ("/etc", "the host's own files"),
    ] {
        scene
            .run(&format!("create --name %d -v {source}:/x busybox"))
            .ok();
        let told = finds(scene, "doubtful-mount", "d").unwrap();
        assert!(told.contains(weight), "{source}: {told}");
        scene.run("rm %d").ok();
    }
    for name in ["%one", "%two"] {
        scene
            .run(&format!(
                "run -d --name {name} -v %db:/db busybox sleep 1000"
            ))
            .ok();
    }
    let told = finds(scene, "several-writers", "db").unwrap();
    assert!(
        told.contains(&scene.name("one")) && told.contains(&scene.name("two")),
        "{told}"
    );
    scene.run("rm -f %one %two").ok();
    assert_eq!(finds(scene, "several-writers", "db"), None);
    scene.run("volume rm --now %db").ok();
}

/// What was there when an audit began may be gone when it comes to it.
fn s169a(scene: &Scene) {
    let names: Vec<String> = (0..20).map(|n| format!("%filled{n}")).collect();
    let mounts: String = (names.iter().enumerate())
        .map(|(n, name)| format!("-v {name}:/opt/{n} "))
        .collect();
    image(
        scene,
        "filling",
        "busybox",
        "for n in $(seq 0 19); do mkdir -p /opt/$n; echo x > /opt/$n/x; done",
    );
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let audits = threads.spawn(|| {
            let mut complaints = Vec::new();
            while !over.load(Ordering::Relaxed) {
                complaints.push(scene.run("volume audit --fast").stderr);
            }
            complaints
        });
        for _ in 0..10 {
            scene
                .run(&format!("run --rm {mounts}{} true", scene.name("filling")))
                .ok();
            scene
                .run(&format!("volume rm --now {}", names.join(" ")))
                .ok();
        }
        over.store(true, Ordering::Relaxed);
        for complaint in audits.join().unwrap() {
            assert_eq!(complaint, "");
        }
    });
    scene.run(&format!("rmi {}", scene.name("filling"))).ok();
}

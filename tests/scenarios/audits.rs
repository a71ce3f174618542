//! S240–S244: what an audit finds on disk and in the records, and what it does not say of an engine at work.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use testkit::{Client, Engine, Output};

use super::{Scenario, host};

pub(super) const OWN: &[Scenario] = &[
    ("s240_audit_of_what_is_missing", |_| missing()),
    ("s241_audit_of_what_nobody_owns", |_| unowned()),
    ("s242_audit_of_an_engine_at_work", |_| at_work()),
    ("s243_audit_of_unused_volumes", |_| unused()),
    ("s244_audit_of_mounts_of_the_host", |_| of_the_host()),
];

fn run(engine: &Engine, line: &str) -> Output {
    Client::Orlop.run(engine, &line.split(' ').collect::<Vec<_>>())
}

/// Kind and subject of each finding.
fn findings(audit: &Output) -> Vec<(String, String)> {
    let found: Value =
        serde_json::from_str(&audit.stdout).unwrap_or_else(|_| panic!("no JSON: {audit}"));
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    found["Findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(one, "Kind"), text(one, "Subject")))
        .collect()
}

#[track_caller]
fn found(engine: &Engine, expected: &[(&str, &str)]) {
    let audit = run(engine, "volume audit --json --level medium");
    let all = findings(&audit);
    for (kind, subject) in expected {
        assert!(
            all.iter().any(|(found, of)| found == kind && of == subject),
            "{kind} {subject} in {all:#?}"
        );
    }
    assert_eq!(all.len(), expected.len(), "{all:#?}");
    assert_eq!(audit.code, i32::from(!expected.is_empty()), "{audit}");
}

fn entries(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn missing() {
    let engine = Engine::start("audit-missing");
    let disk = engine.root.with_extension("disk");
    run(
        &engine,
        &format!("pool create --source {} disk", disk.display()),
    )
    .ok();
    for volume in ["plain", "kept", "unlinked", "trashed"] {
        run(&engine, &format!("volume create {volume}")).ok();
        fs::write(
            engine.root.join("volumes").join(volume).join("_data/x"),
            "x",
        )
        .unwrap();
    }
    for volume in ["pooled", "loose"] {
        run(&engine, &format!("volume create --pool disk {volume}")).ok();
    }
    run(&engine, "volume snapshot create --name one kept").ok();
    let directory =
        |volume: &str| fs::canonicalize(engine.root.join("volumes").join(volume)).unwrap();
    let snapshots = directory("kept").join("snapshots");
    let one = snapshots.join(entries(&snapshots).remove(0));
    run(&engine, "volume snapshot create --name two kept").ok();
    found(&engine, &[]);

    let away = engine.root.with_extension("away");
    fs::create_dir(&away).unwrap();
    // As somebody does who moves the mountpoint away.
    fs::rename(directory("plain").join("_data"), away.join("plain")).unwrap();
    fs::rename(directory("pooled"), away.join("pooled")).unwrap();
    fs::rename(one, away.join("one")).unwrap();
    fs::remove_file(engine.root.join("volumes/unlinked")).unwrap();
    let id = directory("loose").file_name().unwrap().to_owned();
    fs::remove_file(engine.root.join("data").join(&id)).unwrap();
    let trashed = directory("trashed");
    run(&engine, "volume rm trashed").ok();
    fs::rename(trashed.join("_data"), away.join("trashed")).unwrap();
    let expected = [
        ("missing-data", "plain"),
        ("missing-data", "pooled"),
        ("missing-data", "trashed (in the trash)"),
        ("missing-snapshot", "kept@one"),
        ("missing-link", "unlinked"),
        ("missing-link", "loose"),
    ];
    found(&engine, &expected);
    // Who is in a hurry does not look into each volume.
    let fast = findings(&run(&engine, "volume audit --fast --json"));
    assert!(
        !fast.iter().any(|(_, subject)| subject == "kept@one"),
        "{fast:?}"
    );

    let fixed = run(&engine, "volume audit --fix --level medium");
    assert!(
        fixed.stdout.contains("repaired: unlinked (missing-link)")
            && fixed.stdout.contains("repaired: loose (missing-link)"),
        "{fixed}"
    );
    assert!(engine.root.join("volumes/unlinked/_data/x").is_file());
    assert!(engine.root.join("volumes/loose/_data").is_dir());
    found(&engine, &expected[..4]);

    // What it says to do helps.
    fs::rename(away.join("plain"), directory("plain").join("_data")).unwrap();
    let home = fs::read_link(engine.root.join("volumes/pooled")).unwrap();
    let home = fs::read_link(engine.root.join("volumes").join(home)).unwrap();
    let home = disk.join("volumes").join(home.file_name().unwrap());
    fs::rename(away.join("pooled"), home).unwrap();
    run(&engine, "volume snapshot rm kept@one").ok();
    run(&engine, "volume trash empty --force trashed").ok();
    found(&engine, &[]);
    run(&engine, "volume rm --now pooled loose").ok();
    run(&engine, "pool rm disk").ok();
    fs::remove_dir_all(&away).unwrap();
    fs::remove_dir_all(&disk).ok();
}

fn unowned() {
    let mut engine = Engine::start("audit-unowned");
    let disk = engine.root.with_extension("disk");
    run(
        &engine,
        &format!("pool create --source {} disk", disk.display()),
    )
    .ok();
    run(&engine, "volume create data").ok();
    run(&engine, "volume create --pool disk pooled").ok();
    run(&engine, "volume snapshot create --name one data").ok();
    run(&engine, "volume rm --now pooled").ok();
    let data = fs::canonicalize(engine.root.join("volumes/data")).unwrap();
    let tree = data.join("snapshots").join("d".repeat(32));
    let in_pool = disk.join("volumes").join("e".repeat(32));
    let foreign = disk.join("volumes/lost+found");
    let next = data.join("_next");
    for directory in [&tree, &in_pool.join("_data"), &foreign, &next] {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("precious"), "x").unwrap();
    }
    let in_staging = engine.root.join("staging/notes");
    fs::write(&in_staging, "x").unwrap();
    let left = engine
        .root
        .join("trash")
        .join(format!("op-{}", "c".repeat(16)));
    fs::create_dir(&left).unwrap();
    host("touch", &["-d", "yesterday", left.to_str().unwrap()]);
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    // By the way through the pool, which is a link.
    let pool = entries(&engine.root.join("pools")).remove(0);
    let pool = engine.root.join("pools").join(pool).join("fs/volumes");
    let orphan = shown(&pool.join("e".repeat(32)));
    found(
        &engine,
        &[
            ("orphan-snapshot", &shown(&tree)),
            ("orphan-data", &orphan),
            ("foreign-entry", &shown(&pool.join("lost+found"))),
            ("foreign-entry", &shown(&in_staging)),
        ],
    );
    let audit = run(&engine, "volume audit --json");
    let left_over: Vec<_> = findings(&audit)
        .into_iter()
        .filter(|(kind, _)| kind == "leftover")
        .map(|(_, subject)| subject)
        .collect();
    assert_eq!(left_over, [shown(&next), shown(&left)], "{audit}");

    // Nothing of it is removed, but what operations that have ended had given up.
    run(&engine, "volume audit --fix").fails(1, "orphan-data");
    engine.kill();
    engine.resume();
    for path in [&tree, &in_pool, &foreign, &next, &in_staging] {
        assert!(path.exists(), "{}", path.display());
    }
    assert!(!left.exists());
    drop(engine);
    fs::remove_dir_all(&disk).unwrap();
}

/// Volumes, snapshots and links that come and go are no findings, and end no audit.
fn at_work() {
    let engine = Engine::start("audit-at-work");
    let disk = engine.root.with_extension("disk");
    run(
        &engine,
        &format!("pool create --source {} disk", disk.display()),
    )
    .ok();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let audits = threads.spawn(|| {
            let mut said = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let audit = run(&engine, "volume audit --json --level medium");
                said.push((audit.stderr.clone(), findings(&audit)));
            }
            said
        });
        let work: Vec<_> = ["--pool=default", "--pool=disk"]
            .into_iter()
            .enumerate()
            .map(|(n, pool)| {
                let engine = &engine;
                threads.spawn(move || {
                    let (first, second) = (format!("first{n}"), format!("second{n}"));
                    for _ in 0..12 {
                        run(engine, &format!("volume create {pool} {first}")).ok();
                        run(engine, &format!("volume snapshot create --name s {first}")).ok();
                        run(engine, &format!("volume rename {first} {second}")).ok();
                        run(engine, &format!("volume restore {second}@s")).ok();
                        run(engine, &format!("volume clone {pool} {second} {first}")).ok();
                        run(engine, &format!("volume snapshot rm {second}@s")).ok();
                        run(engine, &format!("volume rm {first} {second}")).ok();
                    }
                })
            })
            .collect();
        for worker in work {
            worker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        for (complaint, findings) in audits.join().unwrap() {
            assert_eq!((complaint.as_str(), &*findings), ("", &[][..]));
        }
    });
    run(&engine, "volume trash empty --force").ok();
    run(&engine, "pool rm disk").ok();
    drop(engine);
    fs::remove_dir_all(&disk).ok();
}

fn unused() {
    let engine = Engine::start("audit-unused");
    engine.load_busybox();
    run(&engine, "volume create bare").ok();
    run(&engine, "volume create guarded").ok();
    run(&engine, "volume protect guarded").ok();
    run(
        &engine,
        "run --name maker -v made:/d -v bare:/b busybox true",
    )
    .ok();
    run(&engine, "create --name user -v used:/d busybox true").ok();
    run(&engine, "rm maker").ok();
    let audit = run(&engine, "volume audit --json");
    let unused = |name: &str| ("unused-volume".to_owned(), name.to_owned());
    assert_eq!(
        findings(&audit),
        [unused("bare"), unused("made")],
        "{audit}"
    );
    assert_eq!(audit.code, 1, "{audit}");
    let table = run(&engine, "volume audit");
    assert!(table.stdout.starts_with("WEIGHT  FINDING"), "{table}");
    for detail in [
        "made: made for maker by image busybox at /d on ",
        ", used last by maker (busybox) until ",
        "bare: made on ",
        "orlop volume protect made keeps it",
    ] {
        assert!(table.stdout.contains(detail), "{detail} in {table}");
    }
    for quiet in ["--fast", "--level medium", "--level high"] {
        let output = run(&engine, &format!("volume audit {quiet}"));
        assert_eq!(output.ok().trim(), "4 volumes, 0 findings", "{quiet}");
    }
    run(&engine, "volume audit --level loud").fails(125, "loud");
    // An answer that is none is no finding.
    let nowhere = engine.root.join("nowhere.sock");
    run(
        &engine,
        &format!("-H unix://{} volume audit", nowhere.display()),
    )
    .fails(2, "Cannot connect");
}

fn of_the_host() {
    let engine = Engine::start("audit-host");
    engine.load_busybox();
    let scratch = engine.root.with_extension("host");
    fs::create_dir_all(scratch.join("me/.ssh")).unwrap();
    symlink("/etc", scratch.join("link")).unwrap();
    let image = scratch.join("image");
    fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let disk = host("losetup", &["--find", "--show", image.to_str().unwrap()]);
    let disk = disk.trim();
    run(&engine, "volume create kept").ok();
    let content = engine.root.join("volumes/kept/_data");
    let parent = engine.root.parent().unwrap();
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    for (name, source) in [
        ("run", "/run".to_owned()),
        ("home", "/home".to_owned()),
        ("keys", shown(&scratch.join("me/.ssh"))),
        ("link", shown(&scratch.join("link"))),
        ("disk", disk.to_owned()),
        ("past", shown(&content)),
        ("around", shown(parent)),
        ("fine", shown(&scratch.join("me"))),
    ] {
        run(
            &engine,
            &format!("create --name {name} -v {source}:/x busybox true"),
        )
        .ok();
    }
    let device = |name: &str, device: &str| {
        run(
            &engine,
            &format!("volume create -o type=none -o o=bind -o device={device} {name}"),
        )
        .ok();
    };
    device("whole", "/etc");
    device("gone", &shown(&scratch.join("nothing")));
    device("good", &shown(&scratch.join("me")));
    let doubtful = |name: &'static str| ("doubtful-mount", name);
    found(
        &engine,
        &[
            doubtful("run"),
            doubtful("home"),
            doubtful("keys"),
            doubtful("link"),
            doubtful("disk"),
            doubtful("past"),
            doubtful("around"),
            doubtful("whole"),
            ("missing-bind", "gone"),
        ],
    );
    let told = run(&engine, "volume audit --level medium").stdout;
    let leads = format!(
        "{} leads to /etc, and is mounted writable at /x",
        shown(&scratch.join("link"))
    );
    assert!(told.contains(&leads), "{told}");
    assert!(told.contains("mount the volume by its name"), "{told}");
    run(&engine, "rm run home keys link disk past around fine").ok();
    run(&engine, "volume rm whole gone good").ok();
    found(&engine, &[]);
    host("losetup", &["--detach", disk]);
    drop(engine);
    fs::remove_dir_all(&scratch).unwrap();
}

//! A state directory on a disk that a container has filled: what is under way ends, the engine starts, and the way out works.

use std::fs;

use testkit::{Client, Disk, Engine, Output, until};

use super::Scenario;

pub(super) const OWN: &[Scenario] = &[
    ("s170_a_full_disk_with_ext4", |_| full("ext4")),
    ("s170_a_full_disk_with_xfs", |_| full("xfs")),
    ("s170_a_full_disk_with_btrfs", |_| full("btrfs")),
];

/// The room that the engine keeps for its records.
const RESERVE: u64 = 8 << 20;

fn full(kind: &str) {
    let mut engine = Engine::new(&format!("full-{kind}"));
    let disk = Disk::mount(kind, &engine.root, 400 << 20);
    engine.resume();
    engine.load_busybox();
    let run = |engine: &Engine, line: &str| -> Output {
        Client::Orlop.run(engine, &line.split(' ').collect::<Vec<_>>())
    };
    let kept = |engine: &Engine| fs::metadata(engine.root.join("reserve")).unwrap().len();
    assert_eq!(kept(&engine), RESERVE);
    run(&engine, "run --rm -v data:/d busybox touch /d/one").ok();
    let archive = engine.root.with_extension("tar");
    let tree = engine.root.with_extension("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("large"), vec![7; 32 << 20]).unwrap();
    super::host(
        "tar",
        &[
            "-C",
            tree.to_str().unwrap(),
            "-cf",
            archive.to_str().unwrap(),
            "large",
        ],
    );

    let script = "cat /dev/urandom > /f/much; cat /dev/urandom > /f/rest; true";
    let fill = "run -d --name fill -v filler:/f busybox sh -c";
    let words: Vec<&str> = fill.split(' ').chain([script]).collect();
    Client::Orlop.run(&engine, &words).ok();
    let state = ["inspect", "fill", "--format", "{{.State.Status}}"];
    until("the end of who filled the disk is known", || {
        let now = Client::Orlop.run(&engine, &state).ok();
        (now == "exited").then_some(())
    });
    engine.kill();
    engine.resume();

    let refused = run(
        &engine,
        &format!("volume import data {}", archive.display()),
    );
    refused.fails(1, "no space left on device");
    let refused = run(
        &engine,
        &format!("volume cp {}/large data:/", tree.display()),
    );
    refused.fails(1, "no space left on device");
    let files = run(&engine, "volume ls-files data").ok();
    assert!(
        files.ends_with("one") && files.lines().count() == 1,
        "{files}"
    );
    for left in ["staging", "trash"] {
        let left = engine.root.join(left);
        assert_eq!(
            fs::read_dir(&left).unwrap().count(),
            0,
            "{}",
            left.display()
        );
    }
    run(&engine, "rm fill").ok();
    if kind != "btrfs" {
        run(&engine, "volume resize filler 1g").fails(1, "that takes a copy of");
    }
    run(&engine, "volume rm --now filler").ok();
    if kind == "btrfs" {
        // What was deleted is free when it was cleaned away, which begins with the next commit.
        let root = engine.root.to_str().unwrap();
        super::host("mount", &["-o", "remount,commit=1", root]);
        super::host("btrfs", &["subvolume", "sync", root]);
    }
    until("the room for records is kept again", || {
        run(&engine, "volume label data seen=1").ok();
        (kept(&engine) == RESERVE).then_some(())
    });
    run(
        &engine,
        &format!("volume import data {}", archive.display()),
    )
    .ok();
    drop(engine);
    drop(disk);
    fs::remove_dir_all(&tree).unwrap();
    fs::remove_file(&archive).unwrap();
}

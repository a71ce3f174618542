//! Volumes with what is no plain file, or resists.

use std::fs;
use std::os::unix::net::UnixListener;

use testkit::{Client, Disk, Engine, Output};

use super::{Scenario, host};

pub(super) const OWN: &[Scenario] = &[
    ("s171_a_deletion_that_is_stopped_is_found", |_| stopped()),
    ("s172_only_files_can_be_read", |_| readable()),
];

fn run(engine: &Engine, line: &str) -> Output {
    Client::Orlop.run(engine, &line.split(' ').collect::<Vec<_>>())
}

fn stopped() {
    let mut engine = Engine::new("stopped");
    // Not every filesystem knows the flag, and btrfs deletes a subvolume as a whole.
    let disk = Disk::mount("ext4", &engine.root, 300 << 20);
    engine.resume();
    run(&engine, "volume create stuck").ok();
    let file = engine.root.join("volumes/stuck/_data/file");
    fs::write(&file, "x").unwrap();
    host("chattr", &["+i", file.to_str().unwrap()]);
    run(&engine, "volume rm --now stuck").fails(1, "is immutable or append-only");

    let audit = run(&engine, "volume audit --json");
    let found: serde_json::Value = serde_json::from_str(&audit.stdout).unwrap();
    let finding = &found["Findings"][0];
    assert_eq!((audit.code, &finding["Kind"]), (1, &"unfinished".into()));
    assert_eq!(finding["Subject"], "stuck", "{audit}");
    let trash = engine.root.join("trash");
    let mut entries = fs::read_dir(&trash).unwrap();
    let left = entries.next().unwrap().unwrap().path();
    drop(entries);
    assert!(audit.stdout.contains(left.to_str().unwrap()), "{audit}");

    host("chattr", &["-R", "-i", left.to_str().unwrap()]);
    engine.kill();
    engine.resume();
    run(&engine, "volume audit").ok();
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    drop(engine);
    drop(disk);
}

fn readable() {
    let engine = Engine::start("readable");
    run(&engine, "volume create odd").ok();
    let content = engine.root.join("volumes/odd/_data");
    let _socket = UnixListener::bind(content.join("socket")).unwrap();
    host("mkfifo", &[content.join("fifo").to_str().unwrap()]);
    std::os::unix::fs::symlink("../../../../etc/passwd", content.join("link")).unwrap();
    fs::create_dir(content.join("directory")).unwrap();
    for (name, why) in [
        ("socket", "not a regular file"),
        ("fifo", "not a regular file"),
        ("link", "it leads out of the volume"),
        ("directory", "is a directory"),
    ] {
        let line = format!("volume cat odd:/{name}");
        run(&engine, &line).fails(1, &format!("cannot open /{name} in volume odd: {why}"));
    }
}

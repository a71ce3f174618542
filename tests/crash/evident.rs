//! Copies of btrfs subvolumes whose record is lost: they are what they would have been with it, all of a group or none.

use std::process::Stdio;

use testkit::{Client, Running};

use super::Scene;
use super::alone::Test;

pub(super) const TESTS: &[Test] = &[
    ("evident_snapshots_are_kept", snapshots_are_kept),
    ("an_evident_clone_is_kept", a_clone_is_kept),
    ("a_clone_without_its_limit_is_undone", a_limit_is_undone),
];

/// Two volumes with a file each, on a btrfs.
fn prepare(scene: &Scene) {
    scene.run("pool create --kind btrfs --size 256m fast").ok();
    for volume in ["one", "two"] {
        scene
            .run(&format!("volume create --pool fast {volume}"))
            .ok();
        scene
            .run(&format!(
                "run --rm -v {volume}:/data busybox touch /data/{volume}"
            ))
            .ok();
    }
}

/// The engine dies at `step` of the command, and another one starts.
fn cut(scene: &mut Scene, step: &str, line: &str) {
    scene.engine.terminate();
    scene.engine.resume_until(Some(step));
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = Client::Orlop.command(&scene.engine, &words);
    let client = Running::start_with(&mut command, Stdio::null());
    scene.engine.wait_for_end();
    drop(client.finish());
    scene.engine.resume();
}

fn end(scene: &Scene, volumes: &str) {
    scene.run(&format!("volume rm --now {volumes}")).ok();
    scene.run("pool rm fast").ok();
    scene.check_invariants();
}

fn snapshots_are_kept(scene: &mut Scene) {
    prepare(scene);
    scene
        .run("run -d --name it -v two:/data busybox sleep 1000")
        .ok();
    let step = "snapshot-create:copy:done";
    cut(scene, step, "volume snapshot create --name s one two");
    for volume in ["one", "two"] {
        let snapshot = format!("{volume}@s");
        let listed = scene.run(&format!("run --rm -v {snapshot}:/s:ro busybox ls /s"));
        assert_eq!(listed.ok(), volume);
        assert_eq!(
            scene.run(&format!("volume snapshot diff {snapshot}")).ok(),
            ""
        );
    }
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
    scene.run("exec it touch /data/later").ok();
    scene.run("rm -f it").ok();
    end(scene, "one two");
}

fn a_clone_is_kept(scene: &mut Scene) {
    prepare(scene);
    cut(scene, "volume-clone:copy:done", "volume clone one made");
    scene
        .run("run --rm -v made:/data busybox mv /data/one /data/mine")
        .ok();
    assert!(scene.engine.root.join("volumes/one/_data/one").exists());
    end(scene, "one two made");
}

/// Its limit comes after the copy.
fn a_limit_is_undone(scene: &mut Scene) {
    prepare(scene);
    scene.run("volume resize one 64m").ok();
    cut(scene, "volume-clone:copy:done", "volume clone one made");
    assert_ne!(scene.run("volume inspect made").code, 0);
    scene.run("volume clone one made").ok();
    end(scene, "one two made");
}

//! Volumes on their way to another engine.

use super::{Operation, with_data, with_socket};
use crate::Scene;

/// To the same engine: both ends die at once.
const COPY: &str = "volume copy made SOCKET/copied";
const MOVE: &str = "volume move --stop made SOCKET/gone";

/// From a btrfs to a btrfs.
const MOVE_STREAM: &str = "volume move --stop --pool fast made SOCKET/gone";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "volume-arrive",
        prepare: with_data,
        run: COPY,
        check: copied,
    },
    Operation {
        prefix: "volume-publish",
        prepare: with_data,
        run: COPY,
        check: copied,
    },
    Operation {
        prefix: "receive",
        prepare: with_data,
        run: COPY,
        check: copied,
    },
    Operation {
        prefix: "send",
        prepare: |scene| {
            with_data(scene);
            scene
                .run("run -d --name it -v made:/data busybox sleep 1000")
                .ok();
        },
        run: MOVE,
        check: |scene| moved(scene, MOVE),
    },
    Operation {
        prefix: "stream",
        prepare: |scene| {
            scene.run("pool create --kind btrfs --size 256m fast").ok();
            scene.run("volume create --pool fast made").ok();
            with_data(scene);
            scene
                .run("run -d --name it -v made:/data busybox sleep 1000")
                .ok();
        },
        run: MOVE_STREAM,
        check: |scene| {
            // What it was read from is gone by the start, not by its time.
            assert_eq!(scene.run("volume snapshot ls -q").ok(), "");
            moved(scene, MOVE_STREAM);
            scene.run("pool rm fast").ok();
        },
    },
];

/// A copy that was cut off is absent or complete, and comes to its end.
fn copied(scene: &Scene) {
    if scene.run("volume inspect copied").code != 0 {
        scene.run(&with_socket(scene, COPY)).ok();
    }
    scene
        .run("volume receiving rm copied")
        .fails(1, "no volume");
    scene
        .run("run --rm -v copied:/data busybox ls /data/x")
        .ok();
    scene.run("volume rm --now copied made").ok();
}

/// Here or there, and never in both places for good.
fn moved(scene: &Scene, command: &str) {
    if scene.run("volume inspect made").code == 0 {
        scene.run(&with_socket(scene, command)).ok();
    }
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "exited");
    scene.run("run --rm -v gone:/data busybox ls /data/x").ok();
    scene.run("rm it").ok();
    scene.run("volume rm --now gone").ok();
    scene.run("volume undelete made").ok();
    scene.run("volume rm --now made").ok();
}

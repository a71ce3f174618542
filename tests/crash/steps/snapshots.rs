//! Snapshots, and what is made of them.

use super::{Operation, gone};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "snapshot-create",
        prepare: |scene| {
            scene
                .run("run --rm -v data:/data busybox touch /data/before")
                .ok();
        },
        run: "volume snapshot create --name s data",
        check: |scene| {
            // Absent, its name free, or complete.
            if scene.run("volume snapshot diff data@s").code != 0 {
                scene.run("volume snapshot create --name s data").ok();
            }
            assert_eq!(scene.run("volume snapshot diff data@s").ok(), "");
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "snapshot-remove",
        prepare: |scene| {
            scene.run("volume create data").ok();
            scene.run("volume snapshot create --name s data").ok();
        },
        run: "volume snapshot rm data@s",
        check: |scene| {
            if scene.run("volume snapshot diff data@s").code == 0 {
                scene.run("volume snapshot rm data@s").ok();
            }
            assert_eq!(scene.run("volume snapshot ls -q").ok(), "");
            scene.run("volume snapshot create --name s data").ok();
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "snapshot-freeze",
        prepare: |scene| {
            scene
                .run("run -d --name it -v data:/data busybox sleep 1000")
                .ok();
        },
        run: "volume snapshot create --name s data",
        check: |scene| {
            // It was frozen; it must not stay so.
            assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
            scene.run("exec it touch /data/x").ok();
            scene.run("volume snapshot create --name s data").ok();
            scene.run("rm -f it").ok();
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "volume-clone",
        prepare: |scene| {
            scene
                .run("run --rm -v data:/data busybox touch /data/before")
                .ok();
        },
        run: "volume clone data made",
        check: |scene| {
            if scene.run("volume inspect made").code != 0 {
                scene.run("volume clone data made").ok();
            }
            assert!(scene.engine.root.join("volumes/made/_data/before").exists());
            gone(scene, "made");
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "volume-restore",
        prepare: |scene| {
            scene
                .run("run --rm -v data:/data busybox touch /data/before")
                .ok();
            scene.run("volume snapshot create --name s data").ok();
            scene
                .run("run --rm -v data:/data busybox mv /data/before /data/later")
                .ok();
        },
        run: "volume restore data@s",
        check: |scene| {
            let data = scene.engine.root.join("volumes/data/_data");
            let before = data.join("before").exists();
            assert_ne!(before, data.join("later").exists(), "one or the other");
            // What was there is kept.
            let kept = scene.run("volume snapshot ls -q data").ok();
            assert_eq!(kept.lines().count(), if before { 2 } else { 1 });
            if before {
                scene.run("volume restore --undo data").ok();
                assert!(data.join("later").exists());
            } else {
                scene.run("volume restore data@s").ok();
                assert!(data.join("before").exists());
            }
            gone(scene, "data");
        },
    },
];

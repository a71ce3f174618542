//! Pools of volumes.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "pool-create",
        prepare: |_| {},
        run: "pool create --kind btrfs --size 256m fast",
        check: |scene| {
            if scene.run("pool inspect fast").code != 0 {
                scene.run("pool create --kind btrfs --size 256m fast").ok();
            }
            scene
                .run("run --rm -v made:/data busybox touch /data/x")
                .ok();
            scene.run("volume create --pool fast there").ok();
            scene
                .run("run --rm -v there:/data busybox touch /data/x")
                .ok();
            scene.run("volume rm --now made there").ok();
            scene.run("pool rm fast").ok();
            assert!(scene.names("pools").is_empty());
        },
    },
    Operation {
        prefix: "pool-remove",
        prepare: |scene| {
            scene.run("pool create --kind btrfs --size 256m fast").ok();
        },
        run: "pool rm fast",
        check: |scene| {
            if scene.run("pool inspect fast").code == 0 {
                scene.run("pool rm fast").ok();
            }
            assert!(scene.names("pools").is_empty());
            scene.run("pool create --kind btrfs --size 256m fast").ok();
            scene.run("pool rm fast").ok();
        },
    },
    Operation {
        prefix: "pool-resize",
        prepare: |scene| {
            scene.run("pool create --kind btrfs --size 256m fast").ok();
            scene.run("volume create --pool fast there").ok();
        },
        run: "pool resize fast 384m",
        check: |scene| {
            scene.run("pool resize fast 384m").ok();
            let size = scene
                .run_and("pool inspect fast --format", &["{{.Size}}"])
                .ok();
            assert_eq!(size, "402653184");
            scene
                .run("run --rm -v there:/data busybox touch /data/x")
                .ok();
            scene.run("volume rm --now there").ok();
            scene.run("pool rm fast").ok();
        },
    },
];

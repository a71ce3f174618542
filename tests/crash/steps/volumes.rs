//! Volumes: made, filled, renamed, limited, removed, brought back.

use std::fs;

use testkit::{Client, Running};

use super::{Operation, gone, other_image, second_image, with_data};
use crate::ORPHAN;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "volume-create",
        prepare: |_| {},
        run: "volume create --label l=v made",
        check: |scene| {
            if scene.run("volume inspect made").code == 0 {
                scene
                    .run("run --rm -v made:/data busybox touch /data/x")
                    .ok();
            }
            scene.check_invariants();
            scene.run("volume create --label l=v made").ok();
            assert_eq!(
                scene
                    .run_and("volume inspect made --format", &["{{.Labels}}"])
                    .ok(),
                "map[l:v]"
            );
            scene.run("volume rm made").ok();
        },
    },
    Operation {
        prefix: "volume-remove",
        prepare: |scene| {
            scene
                .run("run --rm -v made:/data busybox touch /data/x")
                .ok();
        },
        run: "volume rm --now made",
        check: |scene| {
            // Complete with its content, or gone.
            if scene.run("volume inspect made").code == 0 {
                scene.run("run --rm -v made:/data busybox ls /data/x").ok();
                scene.run("volume rm made").ok();
            }
            scene.check_invariants();
            scene
                .run("run --rm -v made:/data busybox ls /data/x")
                .fails(1, "No such file");
            scene.run("volume rm made").ok();
        },
    },
    Operation {
        prefix: "volume-trash",
        prepare: with_data,
        run: "volume rm made",
        check: |scene| {
            // A volume, or in the trash; with its content either way.
            if scene.run("volume inspect made").code == 0 {
                scene.run("volume rm made").ok();
            }
            scene.check_invariants();
            scene.run("volume undelete made").ok();
            scene.run("run --rm -v made:/data busybox ls /data/x").ok();
            scene.run("volume rm --now made").ok();
        },
    },
    Operation {
        prefix: "volume-purge",
        prepare: |scene| {
            with_data(scene);
            scene.run("volume rm made").ok();
        },
        run: "volume trash empty -f",
        check: |scene| {
            scene.check_invariants();
            scene.run("volume trash empty -f").ok();
            assert_eq!(scene.run("volume trash ls -q").ok(), "");
        },
    },
    Operation {
        prefix: "volume-undelete",
        prepare: |scene| {
            with_data(scene);
            scene.run("volume rm made").ok();
        },
        run: "volume undelete made --as back",
        check: |scene| {
            scene.check_invariants();
            if scene.run("volume inspect back").code != 0 {
                scene.run("volume undelete made --as back").ok();
            }
            scene.run("run --rm -v back:/data busybox ls /data/x").ok();
            scene.run("volume rm --now back").ok();
        },
    },
    Operation {
        prefix: "volume-rename",
        prepare: |scene| {
            with_data(scene);
            scene
                .run("create --name it -v made:/data busybox ls /data/x")
                .ok();
        },
        run: "volume rename made other",
        check: |scene| {
            scene.check_invariants();
            // Whatever its name is, the container knows it.
            scene.run("start -a it").ok();
            if scene.run("volume inspect other").code != 0 {
                scene.run("volume rename made other").ok();
            }
            scene.run("start -a it").ok();
            scene.run("rm it").ok();
            scene.run("volume rm --now other").ok();
        },
    },
    Operation {
        prefix: "volume-adopt",
        prepare: |scene| {
            let orphan = scene.engine.root.join("data").join(ORPHAN);
            fs::create_dir_all(orphan.join("_data")).unwrap();
            fs::write(orphan.join("_data/x"), "x").unwrap();
        },
        run: "volume adopt ffffffffffffffffffffffffffffffff --name adopted",
        check: |scene| {
            if scene.run("volume inspect adopted").code != 0 {
                scene
                    .run("volume adopt ffffffffffffffffffffffffffffffff --name adopted")
                    .ok();
            }
            scene.check_invariants();
            scene
                .run("run --rm -v adopted:/data busybox ls /data/x")
                .ok();
            scene.run("volume rm --now adopted").ok();
        },
    },
    Operation {
        prefix: "volume-fill",
        prepare: |_| {},
        run: "create --name it -v filled:/bin busybox ls /bin",
        check: |scene| {
            scene.run("rm -f it").ok();
            scene.check_invariants();
            // Filled completely, or empty and filled now.
            scene.run("run --rm -v filled:/bin busybox true").ok();
            let filled = fs::read_dir(scene.engine.root.join("volumes/filled/_data"))
                .unwrap()
                .count();
            let image = scene.run("run --rm busybox ls /bin").ok().lines().count();
            assert_eq!(filled, image);
            scene.run("volume rm filled").ok();
        },
    },
    Operation {
        prefix: "volume-fill",
        prepare: |scene| {
            scene
                .run("run --rm -v filled:/data busybox touch /data/before")
                .ok();
        },
        run: "volume import filled <IMAGE",
        check: |scene| {
            let data = scene.engine.root.join("volumes/filled/_data");
            let before = fs::read_dir(&data).unwrap().count();
            assert!(data.join("before").exists());
            assert!(
                before == 1 || data.join("new").exists() && data.join("bin/sh").exists(),
                "all or nothing"
            );
            let image = fs::File::open(other_image(scene)).unwrap();
            let mut import = Client::Orlop.command(&scene.engine, &["volume", "import", "filled"]);
            Running::start_with(&mut import, image.into()).finish().ok();
            assert!(data.join("before").exists() && data.join("new").exists());
            scene.run("volume rm filled").ok();
        },
    },
    Operation {
        prefix: "volume-fill",
        prepare: |scene| {
            second_image(scene);
            scene.run("run --rm -v filled:/bin busybox true").ok();
            scene
                .run("run --rm -v filled:/d busybox touch /d/mine")
                .ok();
            scene
                .run_and(
                    "run --name third second sh -c",
                    &["echo new > /bin/new; rm /bin/vi"],
                )
                .ok();
            scene.run("commit third third").ok();
            scene.run("rm third").ok();
        },
        run: "volume reseed filled --from third --merge",
        check: |scene| {
            let data = scene.engine.root.join("volumes/filled/_data");
            assert!(data.join("mine").exists());
            assert_eq!(
                data.join("new").exists(),
                !data.join("vi").exists(),
                "all or nothing"
            );
            scene.run("volume reseed filled --from third --merge").ok();
            assert!(data.join("new").exists() && data.join("mine").exists());
            assert_eq!(scene.run("volume reseed filled --from third").ok(), "");
            gone(scene, "filled");
            scene.run("rmi third second").ok();
        },
    },
    Operation {
        prefix: "volume-resize",
        prepare: |scene| {
            scene.run("volume create --size 16m limited").ok();
            scene
                .run("run --rm -v limited:/data busybox touch /data/x")
                .ok();
        },
        run: "volume resize limited 32m",
        check: |scene| {
            let limits = scene
                .run_and("volume inspect limited --format", &["{{.Limits.Size}}"])
                .ok();
            assert!(
                ["16777216", "33554432"].contains(&limits.as_str()),
                "{limits}"
            );
            scene.check_invariants();
            scene.run("volume resize limited 32m").ok();
            scene
                .run("run --rm -v limited:/data busybox ls /data/x")
                .ok();
            scene.run("volume rm --now limited").ok();
        },
    },
    Operation {
        prefix: "volume-convert",
        prepare: |scene| {
            scene.run("volume create plain").ok();
            scene
                .run_and(
                    "run --rm -v plain:/data busybox sh -c",
                    &["echo kept > /data/x; sync -f /data/x"],
                )
                .ok();
        },
        run: "volume resize plain 32m",
        check: |scene| {
            let limits = scene
                .run_and("volume inspect plain --format", &["{{.Limits.Size}}"])
                .ok();
            assert!(["<nil>", "33554432"].contains(&limits.as_str()), "{limits}");
            scene.check_invariants();
            for size in ["32m", "0"] {
                scene.run(&format!("volume resize plain {size}")).ok();
                let kept = scene.run("run --rm -v plain:/data busybox cat /data/x");
                assert_eq!(kept.ok(), "kept");
            }
            scene.run("volume rm --now plain").ok();
        },
    },
    Operation {
        prefix: "volume-withdraw",
        prepare: |scene| {
            scene.plugin();
            scene.run("volume create -d fake far").ok();
        },
        run: "volume rm far",
        check: |scene| {
            // With its plugin and here, or with neither.
            if scene.run("volume inspect far").code == 0 {
                scene.run("volume rm far").ok();
            }
            assert_eq!(scene.run("volume ls -q").ok(), "");
            assert!(scene.plugin().volumes().is_empty());
            scene.run("volume create -d fake far").ok();
            scene.run("volume rm far").ok();
        },
    },
];

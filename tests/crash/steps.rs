//! The engine dies at each step of each operation.
//!
//! The names of the steps are read from the sources, so a step that nobody thought of here makes a failing trial.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use testkit::libtest_mimic::Trial;
use testkit::{Client, Running, images_dir, steps};

use super::{ORPHAN, Scene};

/// What to do before, the operation that dies, and what must hold after the next start.
struct Operation {
    prefix: &'static str,
    prepare: fn(&Scene),
    run: &'static str,
    check: fn(&Scene),
}

const CREATE: &str = "create --name it -v named:/named -v /anonymous busybox cat /etc/passwd";

/// A volume with a backup in a repository of the scene's own.
fn with_backup(scene: &Scene) {
    with_data(scene);
    let place = scene.engine.root.with_extension("repository");
    let password = scene.engine.root.with_extension("password");
    fs::write(&password, "secret\n").unwrap();
    scene
        .run(&format!(
            "backup init --password-file {} repo {}",
            password.display(),
            place.display()
        ))
        .ok();
    scene.run("volume backup --to repo made").ok();
}

fn without_backup(scene: &Scene) {
    scene.run("volume rm --now made").ok();
    scene.run("backup rm-repo repo").ok();
    fs::remove_dir_all(scene.engine.root.with_extension("repository")).unwrap();
    fs::remove_file(scene.engine.root.with_extension("password")).unwrap();
}

/// To the same engine: both ends die at once.
const COPY: &str = "volume copy made SOCKET/copied";
const MOVE: &str = "volume move --stop made SOCKET/gone";
/// From a btrfs to a btrfs.
const MOVE_STREAM: &str = "volume move --stop --pool fast made SOCKET/gone";

const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "container-create",
        prepare: |_| {},
        run: CREATE,
        check: |scene| {
            // Absent or complete; then the name is free or taken.
            if scene.run("inspect --type container it").code == 0 {
                scene.run("start -a it").ok();
                scene.run("rm -v it").ok();
            }
            scene.check_invariants();
            scene.run(CREATE).ok();
            scene.run("start -a it").ok();
            scene.run("rm -v it").ok();
            assert!(
                scene
                    .run("volume ls -q")
                    .ok()
                    .lines()
                    .all(|name| name == "named")
            );
        },
    },
    Operation {
        prefix: "container-start",
        prepare: |scene| {
            scene
                .run("create --name it -v named:/named -p 127.0.0.1::80 busybox sleep 1000")
                .ok();
        },
        run: "start it",
        check: |scene| {
            scene.run("start it").ok();
            assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
            scene.run("exec it true").ok();
            scene.run("stop -t 0 it").ok();
            assert_eq!(
                scene.inspect("it", "{{.State.Status}} {{.State.ExitCode}}"),
                "exited 137"
            );
            scene.run("start it").ok();
            scene.run("rm -f it").ok();
        },
    },
    Operation {
        prefix: "container-exit",
        prepare: |scene| {
            scene
                .run("run -d --name it -v /anonymous busybox sleep 1000")
                .ok();
        },
        run: "kill it",
        check: |scene| {
            scene.until_inspect("it", "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
            scene.run("start it").ok();
            scene.run("rm -fv it").ok();
            assert_eq!(scene.run("volume ls -q").ok(), "");
        },
    },
    Operation {
        prefix: "container-remove",
        prepare: |scene| {
            scene.run(CREATE).ok();
            scene.run("start -a it").ok();
        },
        run: "rm -v it",
        check: |scene| {
            // Every step comes after the commit point.
            scene
                .run("inspect --type container it")
                .fails(1, "o such container");
            assert_eq!(scene.run("volume ls -q").ok(), "named");
            scene.run("volume rm named").ok();
            scene.run("create --name it busybox true").ok();
            scene.run("rm it").ok();
        },
    },
    Operation {
        prefix: "container-mount",
        prepare: |scene| {
            scene.run("run -d --name it busybox sleep 1000").ok();
        },
        run: "container mount it -v named:/named",
        check: |scene| {
            // There and recorded, or neither.
            let listed = scene.run("container mount it").ok().contains("/named");
            let seen = scene.run("exec it grep -q /named /proc/mounts").code == 0;
            assert_eq!(listed, seen);
            scene.check_invariants();
            if listed {
                scene.run("volume rm named").fails(1, "in use");
            } else {
                scene.run("volume rm -f named").ok();
                scene.run("container mount it -v named:/named").ok();
            }
            scene.run("exec it touch /named/x").ok();
            scene.run("restart -t 0 it").ok();
            scene.run("exec it ls /named/x").ok();
            scene.run("rm -f it").ok();
            gone(scene, "named");
        },
    },
    Operation {
        prefix: "container-mount",
        prepare: |scene| {
            scene.run("run -d --name it busybox sleep 1000").ok();
        },
        run: "container mount --temporary it -v /anonymous",
        check: |scene| {
            let listed = scene.run("container mount it").ok().contains("/anonymous");
            let volumes = scene.run("volume ls -q").ok().lines().count();
            assert_eq!(volumes, usize::from(listed), "no volume without its mount");
            scene.run("rm -fv it").ok();
        },
    },
    Operation {
        prefix: "container-unmount",
        prepare: |scene| {
            scene
                .run("run -d --name it -v named:/named busybox sleep 1000")
                .ok();
            scene.run("exec it touch /named/x").ok();
        },
        run: "container unmount it /named",
        check: |scene| {
            let listed = scene.run("container mount it").ok().contains("/named");
            let seen = scene.run("exec it ls /named/x").code == 0;
            assert_eq!(listed, seen);
            scene.check_invariants();
            if listed {
                scene.run("container unmount it /named").ok();
            }
            scene.run("restart -t 0 it").ok();
            scene.run("exec it ls /named/x").fails(1, "No such file");
            gone(scene, "named");
            scene.run("rm -f it").ok();
        },
    },
    Operation {
        prefix: "layer",
        prepare: |_| {},
        run: "import IMAGE second",
        check: image_is_there_or_not,
    },
    Operation {
        prefix: "image",
        prepare: |_| {},
        run: "import IMAGE second",
        check: image_is_there_or_not,
    },
    Operation {
        prefix: "build",
        prepare: write_context,
        run: "build -t built CONTEXT",
        check: built_or_not,
    },
    Operation {
        prefix: "build-step",
        prepare: write_context,
        run: "build -t built CONTEXT",
        check: built_or_not,
    },
    Operation {
        prefix: "build-prune",
        prepare: |scene| {
            // The shared directory is left.
            write_context(scene);
            build(scene);
            scene.run("rmi built").ok();
            scene.run("builder prune -f --filter type=regular").ok();
        },
        run: "builder prune -af",
        check: |scene| {
            assert_eq!(scene.names("build").len(), 1);
            built_or_not(scene);
        },
    },
    Operation {
        prefix: "pull",
        prepare: |scene| {
            import(scene);
            let pushed = remote(scene);
            scene.run(&format!("tag second {pushed}")).ok();
            scene.run(&format!("push {pushed}")).ok();
            scene.run(&format!("rmi second {pushed}")).ok();
        },
        run: "pull REGISTRY/second",
        check: |scene| {
            let pulled = remote(scene);
            if scene.run(&format!("image inspect {pulled}")).code == 0 {
                scene.run(&format!("run --rm {pulled} cat /new")).ok();
                scene.run(&format!("rmi {pulled}")).ok();
            }
            scene.check_invariants();
            scene.run(&format!("pull {pulled}")).ok();
            assert!(scene.names("downloads").is_empty());
            scene.run(&format!("run --rm {pulled} cat /new")).ok();
            scene.run(&format!("rmi {pulled}")).ok();
        },
    },
    Operation {
        prefix: "image-remove",
        prepare: |scene| {
            second_image(scene);
        },
        run: "rmi second",
        check: |scene| {
            if scene.run("image inspect second").code == 0 {
                scene.run("run --rm second cat /second").ok();
                scene.run("rmi second").ok();
            }
            scene.check_invariants();
            second_image(scene);
            scene.run("rmi second").ok();
        },
    },
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
        prefix: "backup-drill",
        prepare: with_backup,
        run: "backup drill --image busybox --command true repo:made",
        check: |scene| {
            // What was restored is gone, and the verdict is there or not.
            assert_eq!(scene.run("volume ls -q").ok(), "made");
            assert_eq!(scene.run("ps -aq").ok(), "");
            scene.check_invariants();
            scene
                .run("backup drill --image busybox --command true repo:made")
                .ok();
            without_backup(scene);
        },
    },
    Operation {
        prefix: "backup-schedule",
        prepare: |scene| {
            with_backup(scene);
            scene
                .run("backup schedule set often --every 30d --volumes made --to repo")
                .ok();
        },
        run: "backup schedule run often",
        check: |scene| {
            // The run that was cut off counts as failed, and is made up for at once.
            testkit::until("the run is made up for", || {
                let state = &scene.run("backup schedule inspect often").json()[0]["State"];
                let made_up = state["FailuresInARow"] == 0 && state["LastSuccess"].is_string();
                made_up.then(|| assert_eq!(state["Failures"], 1, "{state}"))
            });
            scene.run("backup schedule rm often").ok();
            scene.check_invariants();
            without_backup(scene);
        },
    },
    Operation {
        prefix: "network-create",
        prepare: |_| {},
        run: "network create --subnet 10.99.1.0/24 made",
        check: |scene| {
            // Absent, its name, its device and its subnet free, or complete.
            if scene.run("network inspect made").code != 0 {
                scene.run("network create --subnet 10.99.1.0/24 made").ok();
            }
            let seen = scene
                .run("run --rm --network made --ip 10.99.1.7 busybox ip -4 addr show eth0")
                .ok();
            assert!(seen.contains("10.99.1.7/24"), "{seen}");
            scene.run("network rm made").ok();
            bridges(scene, 0);
        },
    },
    Operation {
        prefix: "network-remove",
        prepare: |scene| {
            scene.run("network create made").ok();
        },
        run: "network rm made",
        check: |scene| {
            if scene.run("network inspect made").code == 0 {
                scene.run("run --rm --network made busybox true").ok();
                scene.run("network rm made").ok();
            }
            bridges(scene, 0);
            scene.run("network create made").ok();
            bridges(scene, 1);
            scene.run("network rm made").ok();
        },
    },
    Operation {
        prefix: "network-change",
        prepare: |scene| {
            scene.run("network create made").ok();
            scene.run("run -d --name it busybox sleep 1000").ok();
            scene
                .run("run -d --name other --network made busybox sleep 1000")
                .ok();
        },
        run: "network connect --alias alias made it",
        check: |scene| {
            // The record was written: the connection is there, or is made now.
            let there = "{{.NetworkSettings.Networks.made.IPAddress}}";
            let address = scene.inspect("it", there);
            let seen = scene.run("exec it ip -4 addr").ok();
            assert!(seen.contains(&format!("inet {address}/")), "{seen}");
            scene.run("exec other nslookup alias").ok();
            scene.run("network disconnect made it").ok();
            let seen = scene.run("exec it ip -4 addr").ok();
            assert!(!seen.contains(&format!("inet {address}/")), "{seen}");
            scene.run("rm -f it other").ok();
            scene.run("network rm made").ok();
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
        prefix: "volume-backup",
        prepare: repository,
        run: "volume backup --consistency freeze data",
        check: backed_up_or_not,
    },
    Operation {
        prefix: "backup-in-place",
        prepare: repository,
        run: "volume backup data",
        check: backed_up_or_not,
    },
    Operation {
        prefix: "volume-receive",
        prepare: backed_up,
        run: "volume restore home:data --as made",
        check: |scene| {
            // Whole, or not there.
            if scene.run("volume inspect made").code != 0 {
                scene.run("volume restore home:data --as made").ok();
            }
            assert!(scene.engine.root.join("volumes/made/_data/before").exists());
            without_repository(scene);
            gone(scene, "made");
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "snapshot-receive",
        prepare: backed_up,
        run: "volume restore home:data",
        check: restored_over,
    },
    Operation {
        prefix: "backup-restore",
        prepare: backed_up,
        run: "volume restore home:data",
        check: restored_over,
    },
    Operation {
        prefix: "stack-restore",
        prepare: |scene| {
            repository(scene);
            scene.run("network create made").ok();
            scene
                .run("create --name it --network made -v data:/data busybox ls /data/before")
                .ok();
            scene.run("volume backup data").ok();
            scene.run("rm it").ok();
            scene.run("network rm made").ok();
            gone(scene, "data");
        },
        run: "stack restore home:data",
        check: |scene| {
            // Each part is whole or not there.
            if scene.run("inspect --type container it").code == 0 {
                scene.run("start -a it").ok();
                scene.run("rm it").ok();
            }
            if scene.run("volume inspect data").code == 0 {
                scene
                    .run("run --rm -v data:/data busybox ls /data/before")
                    .ok();
                gone(scene, "data");
            }
            scene.run("stack restore home:data").ok();
            scene.run("start -a it").ok();
            scene.run("rm it").ok();
            scene.run("network rm made").ok();
            without_repository(scene);
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

/// A volume, and a repository for its backups.
fn repository(scene: &Scene) {
    scene
        .run("run --rm -v data:/data busybox touch /data/before")
        .ok();
    let directory = scene.engine.root.with_extension("backups");
    scene
        .run_and(
            "backup init home",
            &[
                directory.to_str().unwrap(),
                "--password-command",
                "echo secret",
            ],
        )
        .ok();
}

fn backed_up(scene: &Scene) {
    repository(scene);
    scene.run("volume backup data").ok();
    scene
        .run("run --rm -v data:/data busybox mv /data/before /data/later")
        .ok();
}

/// Listed and whole, or not listed; either way its snapshot and its leases are gone and the next one goes on.
fn backed_up_or_not(scene: &Scene) {
    assert_eq!(scene.run("volume snapshot ls -q").ok(), "");
    scene.run("backup check home --read-data").ok();
    scene.run("volume backup data").ok();
    // Nor the lock of the engine that was killed.
    let locks = scene.engine.root.with_extension("backups").join("locks");
    assert_eq!(fs::read_dir(locks).unwrap().count(), 0);
    scene.run("volume restore home:data --as copy").ok();
    assert!(scene.engine.root.join("volumes/copy/_data/before").exists());
    without_repository(scene);
    gone(scene, "copy");
    gone(scene, "data");
}

fn without_repository(scene: &Scene) {
    scene.run("backup rm-repo home").ok();
    fs::remove_dir_all(scene.engine.root.with_extension("backups")).unwrap();
    assert!(scene.names("backups").is_empty());
}

/// The volume holds what it held, or what the backup holds; the other one is what it kept, if it was restored.
fn restored_over(scene: &Scene) {
    let data = scene.engine.root.join("volumes/data/_data");
    let restored = data.join("before").exists();
    assert_ne!(restored, data.join("later").exists(), "one or the other");
    let kept = scene.run("volume snapshot ls -q data").ok();
    assert_eq!(kept.lines().count(), usize::from(restored), "{kept}");
    if !restored {
        scene.run("volume restore home:data").ok();
        assert!(data.join("before").exists());
    }
    without_repository(scene);
    gone(scene, "data");
}

/// Removed with everything it kept.
fn gone(scene: &Scene, volume: &str) {
    scene.run(&format!("volume rm --now {volume}")).ok();
}

fn context(scene: &Scene) -> PathBuf {
    scene.engine.root.with_extension("context")
}

/// A step of each kind: a copy, a process, a directory that builds share.
fn write_context(scene: &Scene) {
    let path = context(scene);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "copied\n").unwrap();
    let text = "FROM busybox AS one\n\
        COPY file /file\n\
        RUN --mount=type=cache,target=/shared echo ran > /shared/x && cp /shared/x /ran\n\
        FROM busybox\n\
        COPY --from=one /file /ran /\n\
        WORKDIR /made\n\
        CMD cat /file /ran\n";
    fs::write(path.join("Dockerfile"), text).unwrap();
}

fn build(scene: &Scene) {
    scene
        .run_and("build -t built", &[context(scene).to_str().unwrap()])
        .ok();
}

/// No process, no directory of the build is left; the next one succeeds; what it remembers can be forgotten.
fn built_or_not(scene: &Scene) {
    assert!(scene.names("containers").is_empty());
    assert!(scene.names("staging").is_empty());
    build(scene);
    assert_eq!(scene.run("run --rm built").ok(), "copied\nran");
    scene.run("rmi built").ok();
    scene.run("builder prune -af").ok();
    assert!(scene.names("build").is_empty());
    fs::remove_dir_all(context(scene)).unwrap();
}

fn second_image(scene: &Scene) {
    scene
        .run_and("run --name base busybox sh -c", &["echo two > /second"])
        .ok();
    scene.run("commit base second").ok();
    scene.run("rm base").ok();
}

/// The second image's name in the registry.
fn remote(scene: &Scene) -> String {
    format!("{}/second", scene.registry().address)
}

fn image_is_there_or_not(scene: &Scene) {
    if scene.run("image inspect second").code == 0 {
        scene.run("run --rm second cat /new").ok();
        scene.run("rmi second").ok();
    }
    scene.check_invariants();
    scene.run("run --rm busybox true").ok();
    import(scene);
    scene.run("run --rm second cat /new").ok();
    scene.run("rmi second").ok();
}

/// An image whose layer is not there yet.
fn other_image(scene: &Scene) -> PathBuf {
    let path = scene.engine.root.with_extension("tar");
    if !path.exists() {
        let script = "set -e; d=$(mktemp -d); tar -C $d -xf $1; echo new > $d/new; tar -C $d -cf $2 .; rm -rf $d";
        let made = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&images_dir().join("busybox.tar"), &path])
            .status()
            .unwrap();
        assert!(made.success());
    }
    path
}

/// A command line in which `SOCKET` stands for the engine's own.
fn with_socket(scene: &Scene, line: &str) -> String {
    let socket = format!("unix://{}", scene.engine.socket().display());
    line.replace("SOCKET", &socket)
}

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

fn with_data(scene: &Scene) {
    scene
        .run("run --rm -v made:/data busybox touch /data/x")
        .ok();
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

fn import(scene: &Scene) {
    let path = other_image(scene);
    scene
        .run_and("import", &[path.to_str().unwrap(), "second"])
        .ok();
}

pub(super) fn trials(tags: &Arc<Mutex<Vec<String>>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for step in steps() {
        let prefix = step.split(':').next().unwrap();
        let operations: Vec<&Operation> = OPERATIONS
            .iter()
            .filter(|operation| operation.prefix == prefix)
            .collect();
        if operations.is_empty() {
            let text = format!("no operation in {} reaches the step {step}", file!());
            trials.push(Trial::test(format!("killed_at::{step}"), move || {
                Err(text.into())
            }));
        }
        for operation in operations {
            let tags = Arc::clone(tags);
            let step = step.clone();
            let verb: Vec<&str> = operation.run.split_whitespace().take(3).collect();
            trials.push(Trial::test(
                format!("killed_at::{step}::{}", verb.join("_")),
                move || {
                    die_at(&step, operation, &tags);
                    Ok(())
                },
            ));
        }
    }
    trials
}

fn die_at(step: &str, operation: &Operation, tags: &Arc<Mutex<Vec<String>>>) {
    // The path of a socket has at most 107 bytes.
    let verb: String = operation
        .run
        .split_whitespace()
        .take(3)
        .flat_map(|word| word.chars().filter(char::is_ascii_alphanumeric).take(10))
        .collect();
    let name = format!("{step}-{verb}");
    let mut scene = Scene::new(&name, tags);
    (operation.prepare)(&scene);
    scene.check_invariants();
    scene.engine.terminate();
    scene.engine.resume_until(Some(step));
    let (image, directory) = (other_image(&scene), context(&scene));
    let mut words = Vec::new();
    let mut input = Stdio::null();
    let line = if operation.run.contains("REGISTRY") {
        operation.run.replace("REGISTRY", &scene.registry().address)
    } else {
        with_socket(&scene, operation.run)
    };
    for word in line.split_whitespace() {
        match word {
            "CONTEXT" => words.push(directory.to_str().unwrap()),
            "IMAGE" => words.push(image.to_str().unwrap()),
            "<IMAGE" => input = fs::File::open(&image).unwrap().into(),
            word => words.push(word),
        }
    }
    let client = Running::start_with(&mut Client::Orlop.command(&scene.engine, &words), input);
    scene.engine.wait_for_end();
    drop(client.finish());
    scene.engine.resume();
    (operation.check)(&scene);
    scene.check_invariants();
    // Starting once more finds nothing to do.
    scene.engine.terminate();
    scene.engine.resume();
    scene.check_invariants();
    fs::remove_file(image).unwrap();
}

/// Bridges of networks that users made.
fn bridges(scene: &Scene, expected: usize) {
    let links = std::process::Command::new("ip")
        .args(["-o", "link", "show", "type", "bridge"])
        .output()
        .unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    let found = links.lines().filter(|line| line.contains(": br-")).count();
    // Scenes share a host; each looks at its own networks only.
    let own = scene.run("network ls -q --filter type=custom").ok();
    let ours = own
        .lines()
        .filter(|id| links.contains(&format!("br-{id}")))
        .count();
    assert_eq!(own.lines().count(), expected, "{own}");
    assert!(ours == expected && found >= expected, "{links}");
}
